//! `image`: builds the OS image of this checkout and prints where its parts are.

fn main() -> anyhow::Result<()> {
    let progress = image::Progress::new();
    let (tools, built) = image::build(&image::source_dir(), &progress)?;
    println!("tools tree  {}", tools.root.display());
    println!("disk        {}", built.disk.display());
    println!("UKI         {}", built.uki.display());
    println!("kernel      {}", built.kernel.display());
    println!("initramfs   {}", built.initramfs.display());
    println!("root tree   {}", built.root_tree.display());
    println!("cmdline     {}", built.cmdline);
    Ok(())
}
