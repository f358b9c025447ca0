//! `/etc/resolv.conf` of a pod (upstream: pkg/kubelet/network/dns).

use super::super::spec;
use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};
use std::net::IpAddr;

/// What resolvers take at most: man 5 resolv.conf, MAXNS; upstream: validation.MaxDNSNameservers.
const MOST_SERVERS: usize = 3;
/// Upstream: validation.MaxDNSSearchPaths.
const MOST_SEARCHES: usize = 32;
/// Letters of all search domains with the blanks between them. Upstream: validation.MaxDNSSearchListChars.
const MOST_SEARCH_LETTERS: usize = 2048;
/// Letters of one search domain: glibc 2.28 aborts at longer ones.
const LONGEST_SEARCH: usize = 253;

/// Where the cluster's names are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterDns {
    /// The servers.
    pub servers: Vec<IpAddr>,
    /// The cluster's domain.
    pub domain: String,
}

/// A resolv.conf, and what had to be left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// The file.
    pub text: String,
    /// A sentence for each limit that was exceeded, for the event `DNSConfigForming`.
    pub exceeded: Vec<String>,
}

/// The words of one.
#[derive(Clone, Debug, Default)]
struct Words {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

/// Makes a pod's out of the machine's and the cluster's, as its `dnsPolicy` says, with what its `dnsConfig` adds.
pub fn resolv_conf(machine: &str, cluster: &ClusterDns, pod: &Pod) -> ResolvConf {
    let spec = pod.spec.as_ref();
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref());
    let machine = Words::parse(machine);
    let mut words = match policy {
        Some("None") => Words::default(),
        Some("Default") => machine,
        // The machine's network knows nothing of the cluster's names unless the pod says that it does.
        Some("ClusterFirst") if spec::host_network(pod) => machine,
        // Upstream takes a word that it does not know for this one.
        Some(_) | None => machine.with_cluster(cluster, pod.metadata.namespace.as_deref().unwrap_or_default()),
    };
    if let Some(config) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        words.append(config);
    }
    let exceeded = words.fit();
    ResolvConf {
        text: words.text(),
        exceeded,
    }
}

// === impl Words ===

impl Words {
    fn parse(text: &str) -> Self {
        let mut words = Self::default();
        for line in text.lines() {
            let mut line = line.split_ascii_whitespace();
            match line.next() {
                Some("nameserver") => words.servers.extend(line.next().map(str::to_owned)),
                // Of several lines the last one counts.
                Some("search") => {
                    let domains = line.map(|domain| domain.strip_suffix('.').unwrap_or(domain).to_owned());
                    words.searches = domains.collect();
                }
                Some("options") => words.options = line.map(str::to_owned).collect(),
                Some(_) | None => {}
            }
        }
        words
    }

    /// The cluster's servers alone: they ask the machine's themselves.
    fn with_cluster(self, cluster: &ClusterDns, namespace: &str) -> Self {
        if cluster.servers.is_empty() {
            return self;
        }
        let domain = &cluster.domain;
        let own = [
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.clone(),
        ];
        Self {
            servers: cluster.servers.iter().map(ToString::to_string).collect(),
            searches: each_once(own.into_iter().chain(self.searches)),
            options: vec!["ndots:5".to_owned()],
        }
    }

    /// Each server and domain once; an option in place of one of that name.
    fn append(&mut self, config: &PodDNSConfig) {
        let added = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let servers = std::mem::take(&mut self.servers).into_iter();
        self.servers = each_once(servers.chain(added(&config.nameservers)));
        let searches = std::mem::take(&mut self.searches).into_iter();
        self.searches = each_once(searches.chain(added(&config.searches)));
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            self.options.retain(|known| known.split(':').next() != Some(name));
            let value = option.value.iter().filter(|value| !value.is_empty());
            self.options
                .push(value.fold(name.clone(), |name, value| format!("{name}:{value}")));
        }
    }

    /// Leaves out what resolvers do not take; a sentence for each list that has become shorter.
    fn fit(&mut self) -> Vec<String> {
        let mut exceeded = Vec::new();
        if self.servers.len() > MOST_SERVERS {
            self.servers.truncate(MOST_SERVERS);
            let applied = self.servers.join(" ");
            exceeded.push(format!(
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {applied}"
            ));
        }
        let wanted = self.searches.len();
        self.searches.truncate(MOST_SEARCHES);
        self.searches.retain(|domain| domain.len() <= LONGEST_SEARCH);
        while self.searches.join(" ").len() > MOST_SEARCH_LETTERS {
            self.searches.pop();
        }
        if self.searches.len() < wanted {
            let applied = self.searches.join(" ");
            exceeded.push(format!(
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {applied}"
            ));
        }
        exceeded
    }

    fn text(&self) -> String {
        let line = |keyword: &str, words: &[String]| match words {
            [] => String::new(),
            words => format!("{keyword} {}\n", words.join(" ")),
        };
        let servers = self.servers.iter().map(|server| format!("nameserver {server}\n"));
        let servers: String = servers.collect();
        line("search", &self.searches) + &servers + &line("options", &self.options)
    }
}

fn each_once(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for word in words {
        if !kept.contains(&word) {
            kept.push(word);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const MACHINE: &str = "# made\nnameserver 10.0.2.3\nsearch old\nsearch example.test. b\noptions ndots:1 rotate\n";

    fn made(spec: Value) -> ResolvConf {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec}));
        let cluster = ClusterDns {
            servers: vec!["10.96.0.10".parse().unwrap()],
            domain: "cluster.local".to_owned(),
        };
        resolv_conf(MACHINE, &cluster, &pod.unwrap())
    }

    #[test]
    fn the_policy_says_whose_it_is() {
        let machine = "search example.test b\nnameserver 10.0.2.3\noptions ndots:1 rotate\n";
        let cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local example.test b\n\
                       nameserver 10.96.0.10\noptions ndots:5\n";
        for (spec, wanted) in [
            (json!({"dnsPolicy": "ClusterFirst"}), cluster),
            (json!({}), cluster),
            (json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), machine),
            (
                json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}),
                cluster,
            ),
            (json!({"dnsPolicy": "Default"}), machine),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a", "b"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}}),
                "search a b\nnameserver 1.1.1.1\noptions ndots:2 rotate\n",
            ),
        ] {
            let found = made(spec.clone());
            assert_eq!((found.text.as_str(), found.exceeded.len()), (wanted, 0), "{spec}");
        }
    }

    #[test]
    fn dns_config_adds_each_word_once_and_replaces_options() {
        let spec = json!({"dnsPolicy": "Default", "dnsConfig": {
            "nameservers": ["10.0.2.3", "1.1.1.1"], "searches": ["b", "c"],
            "options": [{"name": "ndots", "value": "5"}, {"name": "edns0", "value": ""}]}});
        assert_eq!(
            made(spec).text,
            "search example.test b c\nnameserver 10.0.2.3\nnameserver 1.1.1.1\noptions rotate ndots:5 edns0\n"
        );
    }

    #[test]
    fn what_resolvers_do_not_take_is_left_out_and_said_in_upstreams_words() {
        let spec = |servers: Vec<String>, searches: Vec<String>| json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": servers, "searches": searches}});
        let numbered =
            |word: &str, count: usize| -> Vec<String> { (0..count).map(|nth| format!("{word}{nth}")).collect() };
        let found = made(spec(numbered("10.0.0.", 4), vec!["a".repeat(254), "b".to_owned()]));
        assert_eq!(
            found.text,
            "search b\nnameserver 10.0.0.0\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n"
        );
        assert_eq!(
            found.exceeded,
            [
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 10.0.0.0 10.0.0.1 10.0.0.2",
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: b",
            ]
        );
        let many = made(spec(vec!["10.0.0.1".to_owned()], numbered("d", 33)));
        assert_eq!((many.exceeded.len(), many.text.split(' ').count()), (1, 33 + 1));
        let long = (0..10).map(|nth| format!("{nth}{}", "x".repeat(249))).collect();
        // Eight of 250 letters with the blanks between them are 2007.
        let long = made(spec(vec!["10.0.0.1".to_owned()], long));
        assert_eq!(long.text.lines().next().map(str::len), Some("search ".len() + 2007));
    }
}
