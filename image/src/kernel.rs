//! The kernel: Debian's source, our options, everything built in.

use crate::cache::{Inputs, cache_dir, product};
use crate::enter;
use crate::progress::Progress;
use crate::tools::ToolsTree;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Unpacks, configures, compiles. Prints one line for each option that kconfig dropped or kept against our word:
/// an option whose parent is off vanishes without an error.
const BUILD: &str = r#"
set -e
tar xf /usr/src/linux-source-6.12.tar.xz --strip-components=1 --one-top-level=linux
cd linux
make -s allnoconfig
scripts/kconfig/merge_config.sh -m .config ../fragments/*.config >/dev/null
make -s olddefconfig
cat ../fragments/*.config | grep '^CONFIG_' | while IFS='=' read -r option value; do
  if [ "$value" = n ]; then
    if grep -q "^$option=" .config; then echo "$option is on although it was switched off" >> ../refused; fi
  elif ! grep -q "^$option=$value\$" .config; then
    echo "$option=$value was dropped: something that it depends on is off" >> ../refused
  fi
done
if [ -s ../refused ]; then cat ../refused; exit 3; fi
export KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=pintle KBUILD_BUILD_HOST=pintle
make -j"$(nproc)" bzImage
"#;

/// Lines that `make bzImage` prints for our options, counted once; only moves the progress bar.
const LINES: u64 = 2300;

/// The kernel for the fragments in `config`; gives the path of its bzImage.
pub fn ensure(tools: &ToolsTree, config: &Path, progress: &Progress) -> Result<PathBuf> {
    let inputs = Inputs::new("kernel 1")
        .text(BUILD)
        .text(&source_version(tools)?)
        .path(config)?;
    let folder = product("kernel", inputs, |into| make(tools, config, into, progress))?;
    Ok(folder.join("vmlinuz"))
}

fn make(tools: &ToolsTree, config: &Path, into: &Path, progress: &Progress) -> Result<()> {
    let step = progress.counted("kernel", LINES);
    let work = tempfile::Builder::new()
        .prefix("kernel-work-")
        .tempdir_in(cache_dir())?;
    copy_fragments(config, &work.path().join("fragments"))?;
    let log = cache_dir().join("kernel.log");
    fs::write(&log, "").context("empty the kernel's log")?;
    let mut command = tools.inside(work.path(), "sh");
    command.args(["-c", BUILD]);
    let counting = Counting::start(&log);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| counting.follow(&step));
        let result = enter::run("build the kernel", &mut command, &log);
        counting.stop();
        result
    });
    if result.is_err()
        && let Ok(refused) = fs::read_to_string(work.path().join("refused"))
    {
        bail!("build the kernel: kconfig does not take what kernel-config/ asks for:\n{refused}");
    }
    result?;
    let kernel = into.join("vmlinuz");
    fs::copy(work.path().join("linux/arch/x86/boot/bzImage"), &kernel).context("take the kernel out of its build")?;
    fs::copy(work.path().join("linux/.config"), into.join("config")).context("keep the kernel's configuration")?;
    step.done(Some(fs::metadata(&kernel)?.len()));
    Ok(())
}

fn copy_fragments(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "config") {
            fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// The version of Debian's source package, so that an update builds a new kernel.
fn source_version(tools: &ToolsTree) -> Result<String> {
    let status =
        fs::read_to_string(tools.root.join("var/lib/dpkg/status")).context("read the tools tree's package list")?;
    let package = status
        .split("\n\n")
        .find(|package| package.starts_with("Package: linux-source-6.12\n"));
    let version = package.and_then(|package| package.lines().find_map(|line| line.strip_prefix("Version: ")));
    version
        .map(str::to_owned)
        .context("the tools tree has no linux-source-6.12")
}

/// Follows a growing log for the sake of a progress bar.
struct Counting<'a> {
    log: &'a Path,
    over: std::sync::atomic::AtomicBool,
}

impl<'a> Counting<'a> {
    fn start(log: &'a Path) -> Self {
        Counting {
            log,
            over: false.into(),
        }
    }

    fn stop(&self) {
        self.over.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn follow(&self, step: &crate::Step) {
        while !self.over.load(std::sync::atomic::Ordering::Relaxed) {
            let lines = fs::read(self.log).map_or(0, |text| text.iter().filter(|&&byte| byte == b'\n').count());
            step.at((lines as u64).min(LINES));
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
}
