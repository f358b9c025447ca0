//! Compiles the .proto files with protox, so that no `protoc` is needed.

/// Each defines one package; what they import is found from here.
const FILES: [&str; 6] = [
    "machine/v1/machine.proto",
    "cri/v1/runtime.proto",
    "cri/v1/record.proto",
    "deviceplugin/v1beta1/api.proto",
    "pluginregistration/v1/api.proto",
    "csi/v1/csi.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for folder in ["machine", "cri", "deviceplugin", "pluginregistration", "csi"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    let files = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
