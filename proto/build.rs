//! Compiles the .proto files with protox, so that no `protoc` is needed.

/// Each defines one package; what they import is found from here.
const FILES: [&str; 4] = [
    "machine/v1/machine.proto",
    "cri/v1/runtime.proto",
    "cri/v1/record.proto",
    "deviceplugin/v1beta1/api.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for folder in ["machine", "cri", "deviceplugin"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    let files = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
