//! Pulling from a real docker-registry, what skopeo pushed: over plain HTTP, and over TLS of a private CA with a password.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod made;

use identity::{Authority, Leaf};
use made::layer;
use oci::{Auth, Image, PullError, Registries, Registry, Store};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tar::EntryType::Regular;

/// bcrypt of the password `right`, the one hash that docker-registry takes.
const HTPASSWD: &str = "user:$2b$04$GjRW9vIGYDY0PhQ.XL4jwOHyaalTg56oou1aXL5b/mdpL3GXCsf8S\n";

/// A docker-registry with the image `team/demo:1`; dropped, it ends.
struct Served {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

/// A program of the tools tree, run by the tree's own loader, or of this host.
fn tool(name: &str) -> Option<Command> {
    if let Some(tree) = std::env::var_os("PINTLE_TOOLS_TREE").map(PathBuf::from) {
        let mut command = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(tree.join("usr/lib/x86_64-linux-gnu"));
        command.arg(tree.join("usr/bin").join(name));
        return Some(command);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.find(|file| file.exists()).map(Command::new)
}

impl Served {
    /// With these lines of settings below `http:` and at the top. Nothing where this host has no registry.
    fn start(folder: tempfile::TempDir, http: &str, top: &str) -> Option<Self> {
        let (Some(mut registry), Some(skopeo)) = (tool("docker-registry"), tool("skopeo")) else {
            eprintln!("SKIPPED: it needs docker-registry and skopeo in PATH or in the tools tree ($PINTLE_TOOLS_TREE)");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = folder.path().join("registry.yml");
        let root = folder.path().join("storage");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{top}",
            root.display()
        );
        fs::write(&settings, text).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = registry
            .arg("serve")
            .arg(&settings)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let mut served = Served {
            process: process.unwrap(),
            port,
            folder,
        };
        served.wait();
        served.push(skopeo);
        Some(served)
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(
                self.process.try_wait().unwrap().is_none(),
                "docker-registry ended: {}",
                log()
            );
            assert!(Instant::now() < deadline, "docker-registry does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn push(&self, mut skopeo: Command) {
        let archive = self.folder.path().join("image.tar");
        fs::write(
            &archive,
            made::saved("demo:1", &[layer(&[(Regular, "file", "", b"real")])]),
        )
        .unwrap();
        let pushed = skopeo
            .args([
                "copy",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--dest-creds=user:right",
            ])
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://127.0.0.1:{}/team/demo:1", self.port))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Gone already: as wished.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn pull(name: &str, registries: &Registries, auth: Option<&Auth>) -> Result<Image, PullError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pulled = store.pull(&name.parse().unwrap(), registries, auth, &|_| {}).await;
    if let Ok(image) = &pulled {
        assert_eq!(fs::read(image.layers[0].join("file")).unwrap(), b"real");
    } else {
        assert!(store.list().unwrap().is_empty());
    }
    pulled
}

fn login(password: &str) -> Auth {
    Auth::Basic {
        user: "user".to_owned(),
        password: password.to_owned(),
    }
}

/// A CA, and a certificate of it for this host's loopback in `folder`, as docker-registry's settings.
fn private_ca(folder: &Path) -> (String, String) {
    let bundle = identity::cluster::new_bundle().unwrap();
    let ca = Authority::from_pem(&bundle.machine_ca.certificate, &bundle.machine_ca.key).unwrap();
    let own = ca.issue(&Leaf {
        common_name: "localhost".to_owned(),
        names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        ..Leaf::default()
    });
    let own = own.unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    fs::write(&certificate, own.certificate).unwrap();
    fs::write(&key, own.key).unwrap();
    let settings = format!(
        "  tls:\n    certificate: {}\n    key: {}\n",
        certificate.display(),
        key.display()
    );
    (ca.certificate().to_owned(), settings)
}

/// Two registries that are asked at `mirrors`, or `host` itself; `host` is logged in to.
fn registries(host: &str, mirrors: &[String], authority: Option<&str>, password: Option<&str>) -> Registries {
    let registry = |name: &str| {
        let registry = Registry {
            mirrors: mirrors.to_vec(),
            mirrors_only: !mirrors.is_empty(),
            authority: authority.map(str::to_owned),
        };
        (name.to_owned(), registry)
    };
    Registries {
        by_name: ["registry.test:5000", host].map(registry).into(),
        logins: password
            .map(|password| (host.to_owned(), login(password)))
            .into_iter()
            .collect(),
        ..Registries::default()
    }
}

#[tokio::test]
async fn a_plain_registry_on_this_host_needs_no_words() {
    let Some(served) = Served::start(tempfile::tempdir().unwrap(), "", "") else {
        return;
    };
    let name = format!("127.0.0.1:{}/team/demo:1", served.port);
    pull(&name, &Registries::default(), None).await.unwrap();
}

#[tokio::test]
async fn a_registry_of_a_private_ca_serves_who_knows_it_and_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, tls) = private_ca(folder.path());
    let htpasswd = folder.path().join("htpasswd");
    fs::write(&htpasswd, HTPASSWD).unwrap();
    let auth = format!(
        "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
        htpasswd.display()
    );
    let Some(served) = Served::start(folder, &tls, &auth) else {
        return;
    };
    let host = format!("localhost:{}", served.port);
    let own = format!("{host}/team/demo:1");
    let registries =
        |mirrors: Vec<String>, authority: Option<&str>, password| registries(&host, &mirrors, authority, password);
    let mirror = vec![format!("https://{host}")];

    // At its own address, and as the mirror of another; by the machine's login, and by the caller's own.
    pull(&own, &registries(vec![], Some(&ca), Some("right")), None)
        .await
        .unwrap();
    pull(&own, &registries(vec![], Some(&ca), None), Some(&login("right")))
        .await
        .unwrap();
    let mirrored = registries(mirror.clone(), Some(&ca), Some("right"));
    pull("registry.test:5000/team/demo:1", &mirrored, None).await.unwrap();

    let other = identity::cluster::new_bundle().unwrap().machine_ca.certificate;
    let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (what, registries, auth, words) in [
        (
            "no CA",
            registries(mirror.clone(), None, Some("right")),
            None,
            "give its certificate as `ca` in [[oci.registry]]",
        ),
        (
            "another CA",
            registries(vec![], Some(&other), Some("right")),
            None,
            "no CA that this machine knows",
        ),
        (
            "a torn CA",
            registries(vec![], Some(torn), None),
            None,
            "certificate authority is invalid",
        ),
        (
            "no login",
            registries(vec![], Some(&ca), None),
            None,
            "the login in the machine's secrets",
        ),
        (
            "a wrong login",
            registries(vec![], Some(&ca), Some("wrong")),
            None,
            "refuses access",
        ),
        (
            "the caller's login is not shown to a mirror",
            registries(mirror.clone(), Some(&ca), None),
            Some(login("right")),
            "wants a user name and a password",
        ),
    ] {
        let said = pull(&own, &registries, auth.as_ref()).await.unwrap_err().to_string();
        assert!(said.contains(words) && said.contains(&own), "{what}: {said}");
    }
}
