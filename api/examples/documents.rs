//! Writes what `/api`, `/apis` and `/openapi` answer into a folder, with sizes and times, for a look with real clients.

use std::{fs, path::PathBuf, time::Instant};

/// What this process holds in memory now, and held at most, as the kernel says it.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let wanted = |line: &&str| line.starts_with("VmRSS") || line.starts_with("VmHWM");
    status
        .lines()
        .filter(wanted)
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "documents".to_owned()));
    let write = |path: &str, text: &str| {
        let file = folder.join(path.trim_start_matches('/')).join("index.json");
        fs::create_dir_all(file.parent().unwrap_or(&folder))?;
        fs::write(file, text)
    };
    println!("at first: {}", memory());
    let start = Instant::now();
    let known = api::schema::types().by_name("io.k8s.api.core.v1.Pod").is_some();
    println!("types (compiled: {known}) in {:?}: {}", start.elapsed(), memory());
    let catalog = api::Catalog::new([]);
    write("api", &api::discovery::api_versions("127.0.0.1").to_string())?;
    write("apis", &api::discovery::api_group_list(&catalog).to_string())?;
    for (group, version) in api::discovery::group_versions(&catalog) {
        let path = if group.is_empty() {
            format!("api/{version}")
        } else {
            format!("apis/{group}/{version}")
        };
        let resources = api::discovery::api_resource_list(&catalog, group, version).unwrap_or_default();
        write(&path, &resources.to_string())?;
        let start = Instant::now();
        let document = api::openapi::v3_document(&catalog, group, version).unwrap_or_else(|| "".into());
        println!("openapi/v3/{path}: {} bytes in {:?}", document.len(), start.elapsed());
        write(&format!("openapi/v3/{path}"), &document)?;
    }
    write("openapi/v3", &api::openapi::v3_index(&catalog).to_string())?;
    let start = Instant::now();
    let document = api::openapi::v2_document(&catalog);
    println!("openapi/v2: {} bytes in {:?}", document.len(), start.elapsed());
    write("openapi/v2", &document)?;
    drop(document);
    println!("at the end: {}", memory());
    Ok(())
}
