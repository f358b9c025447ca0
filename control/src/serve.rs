//! `control serve`: the control plane alone, on any host: it makes its certificates and a kubeconfig, and prints where that is.

use crate::plane::Plane;
use crate::seal;
use anyhow::{Context, anyhow};
use config::{Bundle, MachineConfig};
use server::Audit;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use store::{EtcdOptions, Seals, Store};
use tokio::net::TcpListener;

/// What all keys in etcd begin with; not upstream's `/registry`, whose values have another form.
const ETCD_PREFIX: &str = "/pintle";

/// Runs until told to stop.
pub async fn serve(data: &Path, listen: SocketAddr, etcd: &[String], audit: Option<Audit>) -> anyhow::Result<()> {
    std::fs::create_dir_all(data).with_context(|| format!("make the folder {}", data.display()))?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen on {listen}"))?;
    let address = listener.local_addr().context("ask where the listener is")?;
    let bundle = bundle(&data.join("bundle.toml"))?;
    let config = machine(address)?;
    let secrets = identity::cluster::machine_secrets(&bundle, &config).context("issue certificates")?;
    let seals = secrets.control_plane.as_ref().map(seal::seals).unwrap_or_default();
    let store = match etcd {
        [] => open(&data.join("store"), seals)?,
        endpoints => {
            let options = EtcdOptions {
                endpoints: endpoints.to_vec(),
                prefix: ETCD_PREFIX.to_owned(),
            };
            Store::connect_sealed(&options, seals).await.context("open the store")?
        }
    };
    let plane = Plane::new(&config, &secrets, store)?.audited(audit);
    let kubeconfig = data.join("kubeconfig");
    let text = identity::cluster::kubeconfig(&bundle, &format!("https://{address}")).context("issue a kubeconfig")?;
    write_private(&kubeconfig, &text)?;
    println!(
        "export KUBECONFIG={}",
        std::path::absolute(&kubeconfig).unwrap_or(kubeconfig).display()
    );
    plane.run(listener, &address.to_string()).await
}

/// The embedded store in folder `data`.
pub fn open(data: &Path, seals: Seals) -> anyhow::Result<Store> {
    std::fs::create_dir_all(data).with_context(|| format!("make the folder {}", data.display()))?;
    Store::open_sealed(data, seals).with_context(|| format!("open the store in {}", data.display()))
}

/// The cluster's CAs: made once, then kept, so that a kubeconfig stays good.
fn bundle(path: &Path) -> anyhow::Result<Bundle> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return config::parse_bundle(&text)
            .map_err(|problems| anyhow!("{}: {}", path.display(), config::sentence(&problems)));
    }
    let bundle = identity::cluster::new_bundle().context("make certificate authorities")?;
    write_private(path, &toml::to_string(&bundle).context("write the bundle as TOML")?)?;
    Ok(bundle)
}

fn machine(address: SocketAddr) -> anyhow::Result<MachineConfig> {
    let text = format!(
        "version = 1\n[machine]\nname = \"control\"\nroles = [\"control-plane\"]\n\
         [cluster]\nname = \"alone\"\nendpoint = \"https://{address}\"\n"
    );
    config::parse(&text).map_err(|problems| anyhow!("the built-in machine config: {}", config::sentence(&problems)))
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}
