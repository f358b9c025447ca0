//! Pulls an image into a fresh store and says how long that took, to be compared with other programs that do the same:
//! `cargo run --release -p oci --example pull -- 127.0.0.1:5000/image:1 FOLDER`.

use oci::{Reference, Registries, Store};
use std::error::Error;
use std::io::Write;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(image), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("give an image and a folder that is not there yet".into());
    };
    let reference: Reference = image.parse()?;
    let store = Store::open(folder.as_ref())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let began = Instant::now();
    let pulled = runtime.block_on(store.pull(&reference, &Registries::default(), None, &|_| {}))?;
    let took = began.elapsed().as_secs_f64();
    let megabytes = pulled.size as f64 / 1e6;
    let line = format!(
        "{megabytes:.0} MB in {} layers pulled and unpacked in {took:.2} s, {:.0} MB/s\n",
        pulled.layers.len(),
        megabytes / took
    );
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}
