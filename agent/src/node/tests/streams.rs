//! Exec, attach, port-forward, proxy and logs as people use them: with kubectl, by WebSocket and by SPDY.

use super::cluster::Cluster;
use super::image;
use base64::Engine;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Makes kubectl speak SPDY instead of WebSocket.
const BY_SPDY: [(&str, &str); 2] = [
    ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"),
    ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false"),
];

/// By WebSocket, which kubectl prefers, and by SPDY.
const WAYS: [&[(&str, &str)]; 2] = [&[], &BY_SPDY];

pub fn all(cluster: &Cluster) {
    let Some(missing) = ["kubectl", "busybox"]
        .into_iter()
        .find(|name| image::found(name).is_none())
    else {
        make_pods(cluster);
        executes_with_input_and_code(cluster);
        copies_there_and_back(cluster);
        forwards_ports(cluster);
        proxies(cluster);
        attaches(cluster);
        runs_once(cluster);
        logs_are_chosen(cluster);
        return;
    };
    eprintln!("SKIPPED: streams were not tried with kubectl, because there is no {missing} in PATH");
}

/// What was attached to before the agent was killed is attached to after it.
pub fn attached_again_by_another_agent(cluster: &Cluster) {
    if cluster.pod("box").is_none() {
        return;
    }
    attaches(cluster);
    for name in ["box", "failing"] {
        cluster.delete(name);
        cluster.wait_until_gone(name);
    }
}

fn make_pods(cluster: &Cluster) {
    let web = "echo out; echo err >&2; busybox mkdir /www; echo hello > /www/index.html; exec busybox httpd -f -p 8080 -h /www";
    cluster.create(
        "pods",
        json!({"metadata": {"name": "box"}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "web", "image": image::NAME, "command": ["sh", "-c", web], "ports": [{"containerPort": 8080}]},
            {"name": "echo", "image": image::NAME, "stdin": true,
             "command": ["sh", "-c", "while read line; do echo got $line; echo bad $line >&2; done"]}]}}),
    );
    cluster.create(
        "pods",
        json!({"metadata": {"name": "failing"}, "spec": {"containers": [
        {"name": "c", "image": image::NAME, "command": ["sh", "-c", "echo one; echo two; echo three; exit 1"]}]}}),
    );
    cluster.wait_for("box", "Ready", |pod| super::condition(pod, "Ready") == "True");
}

/// kubectl, and how it is connected.
fn kubectl(cluster: &Cluster, way: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = cluster.kubectl().expect("kubectl was found before");
    command.args(arguments).envs(way.iter().copied());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Its output, error output and exit code.
fn said(mut command: Command, input: &[u8]) -> (String, String, i32) {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code().unwrap_or(-1),
    )
}

fn executes_with_input_and_code(cluster: &Cluster) {
    for way in WAYS {
        let words = [
            "exec",
            "-i",
            "box",
            "-c",
            "web",
            "--",
            "sh",
            "-c",
            "cat; echo err >&2; exit 7",
        ];
        let much = "0123456789abcdef".repeat(20_000);
        let (out, err, code) = said(kubectl(cluster, way, &words), much.as_bytes());
        assert_eq!((out.len(), code), (much.len(), 7), "{way:?}: {err}");
        assert!(err.starts_with("err\n"), "{way:?}: {err}");
        let missing = ["exec", "box", "-c", "web", "--", "/no/such"];
        let (_, err, code) = said(kubectl(cluster, way, &missing), b"");
        assert!(code != 0 && err.contains("/no/such"), "{way:?}: {code} {err}");
    }
}

fn copies_there_and_back(cluster: &Cluster) {
    let original: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|number| number.to_le_bytes())
        .take(3_000_000)
        .collect();
    std::fs::write(cluster.folder().join("there"), &original).unwrap();
    for way in WAYS {
        for (from, to) in [("there", "box:/tmp/copy"), ("box:/tmp/copy", "back")] {
            let (_, err, code) = said(kubectl(cluster, way, &["cp", "-c", "web", from, to]), b"");
            assert_eq!(code, 0, "{way:?} {from} {to}: {err}");
        }
        let back = cluster.folder().join("back");
        assert!(
            std::fs::read(&back).unwrap() == original,
            "{way:?}: another file came back"
        );
        std::fs::remove_file(back).unwrap();
    }
}

fn forwards_ports(cluster: &Cluster) {
    for way in WAYS {
        let mut forward = kubectl(cluster, way, &["port-forward", "pod/box", ":8080", ":81"])
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(forward.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut port = |to: &str| -> u16 {
            let wanted = format!(" -> {to}");
            let line = lines.find(|line| line.contains("127.0.0.1:") && line.ends_with(&wanted));
            let line = line.unwrap_or_else(|| panic!("kubectl forwards to {to}"));
            line.rsplit_once(':')
                .unwrap()
                .1
                .trim_end_matches(&wanted)
                .parse()
                .unwrap()
        };
        let (web, closed) = (port("8080"), port("81"));
        for _ in 0..3 {
            let answer = fetch(web);
            assert!(answer.ends_with("hello\n"), "{way:?}: {answer:?}");
        }
        // kubectl gives up when a connection inside fails, as on upstream; what it says is what the node said.
        assert_eq!(fetch(closed), "");
        let mut err = BufReader::new(forward.stderr.take().unwrap());
        let said = loop {
            let said = line_of(&mut err);
            if said.contains("error forwarding port 81 to pod box_default") {
                break said;
            }
        };
        assert!(said.contains("onnection refused"), "{way:?}: {said}");
        end(forward);
    }
}

fn fetch(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn proxies(cluster: &Cluster) {
    for path in [
        "pods/box/proxy/",
        "pods/box:8080/proxy/index.html",
        "pods/http:box:8080/proxy/",
    ] {
        let path = format!("/api/v1/namespaces/default/{path}");
        assert_eq!(
            said(kubectl(cluster, &[], &["get", "--raw", &path]), b"").0,
            "hello\n",
            "{path}"
        );
    }
    let (out, ..) = said(
        kubectl(cluster, &[], &["get", "--raw", "/api/v1/nodes/n1/proxy/healthz"]),
        b"",
    );
    assert_eq!(out, "ok");
    let (_, err, _) = said(
        kubectl(
            cluster,
            &[],
            &["get", "--raw", "/api/v1/namespaces/default/pods/box:81/proxy/"],
        ),
        b"",
    );
    assert!(err.contains("error trying to reach service: dial tcp 10.244."), "{err}");
}

fn attaches(cluster: &Cluster) {
    for way in WAYS {
        for word in ["one", "two"] {
            let mut attached = kubectl(cluster, way, &["attach", "-i", "box", "-c", "echo"])
                .spawn()
                .unwrap();
            let mut stdin = attached.stdin.take().unwrap();
            let mut out = BufReader::new(attached.stdout.take().unwrap());
            let mut err = BufReader::new(attached.stderr.take().unwrap());
            writeln!(stdin, "{word}").unwrap();
            assert_eq!(line(&mut out), format!("got {word}"), "{way:?}");
            while line_of(&mut err) != format!("bad {word}") {}
            end(attached);
        }
    }
    cluster.eventually("the log has what was seen", || {
        let (log, ..) = said(kubectl(cluster, &[], &["logs", "box", "-c", "echo"]), b"");
        (log.contains("got two\n") && log.contains("bad one\n")).then_some(())
    });
}

fn line(from: &mut BufReader<ChildStdout>) -> String {
    line_of(from)
}

/// The next line, which must come.
fn line_of(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    assert!(from.read_line(&mut line).unwrap() > 0, "it ended");
    line.trim_end().to_owned()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn runs_once(cluster: &Cluster) {
    for (number, way) in WAYS.into_iter().enumerate() {
        let name = format!("once-{number}");
        let words = [
            "run",
            &name,
            "--rm",
            "-i",
            "--restart=Never",
            "--image",
            image::NAME,
            "--image-pull-policy=IfNotPresent",
            "--command",
            "--",
            "sh",
            "-c",
            "cat; exit 5",
        ];
        let (out, err, code) = said(kubectl(cluster, way, &words), b"words\n");
        assert!(out.contains("words\n"), "{way:?}: {out:?} {err:?}");
        assert_eq!(code, 5, "{way:?}: {out:?} {err:?}");
        cluster.wait_until_gone(&name);
    }
}

fn logs_are_chosen(cluster: &Cluster) {
    let logs = |arguments: &[&str]| said(kubectl(cluster, &[], &[&["logs"], arguments].concat()), b"");
    assert_eq!(logs(&["failing", "--tail=1"]).0, "three\n");
    assert_eq!(logs(&["failing", "--limit-bytes=5"]).0, "one\nt");
    assert_eq!(logs(&["failing", "--since-time=2100-01-01T00:00:00Z"]).0, "");
    assert!(logs(&["failing", "--timestamps"]).0.contains("Z two\n"));
    cluster.wait_for("failing", "restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0)
    });
    assert_eq!(logs(&["failing", "--previous"]).0, "one\ntwo\nthree\n");
    for (arguments, sentence) in [
        (
            &["box"][..],
            "a container name must be specified for pod box, choose one of: [web echo]",
        ),
        (&["box", "-c", "no"], "container no is not valid for pod box"),
        (
            &["box", "-c", "web", "--previous"],
            "previous terminated container \"web\" in pod \"box\" not found",
        ),
    ] {
        let (_, err, code) = logs(arguments);
        // kubectl chooses a container itself where there is an annotation; here it asks the server or fails in its words.
        assert!(code != 0 || err.contains("Defaulted container"), "{arguments:?}: {err}");
        assert!(
            err.contains(sentence) || err.contains("Defaulted container"),
            "{arguments:?}: {err}"
        );
    }
    let path = "/api/v1/namespaces/default/pods/box/log?container=web";
    // What is written to two pipes one after the other may be read in either order.
    let sent = cluster.messages(path, "binary.k8s.io").concat();
    assert!(sent == b"out\nerr\n" || sent == b"err\nout\n", "{sent:?}");
    let text = cluster.messages(path, "base64.binary.k8s.io").concat();
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(text).unwrap(), sent);
    let (code, reply) = cluster.ask("GET", &format!("{path}&stream=Stderr"), None);
    assert_eq!((code, reply.as_str()), (200, Some("err\n")));
}
