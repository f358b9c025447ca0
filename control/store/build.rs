//! Compiles etcd's protocol with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=etcd/etcd.proto");
    let files = protox::compile(["etcd/etcd.proto"], ["."])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
