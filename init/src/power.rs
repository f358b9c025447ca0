//! The last call: the kernel restarts or switches off the machine, or, in namespaces, this process ends with a code.

use crate::console;
use crate::provider::Provider;
use init_protocol::Down;
use nix::sys::reboot::{RebootMode, reboot};
use std::process::exit;

/// Exit code that asks the harness (namespaces provider) to start the machine again.
pub const EXIT_REBOOT: i32 = 80;
/// Exit code that tells it that the machine is off.
pub const EXIT_POWER_OFF: i32 = 81;

/// Ends the machine, or, in namespaces, its PID 1, with which the kernel ends the rest.
pub fn end(provider: Provider, how: Down) -> ! {
    match (provider, how) {
        (Provider::Machine, how) => now(how),
        (Provider::Namespaces, Down::Reboot) => exit(EXIT_REBOOT),
        (Provider::Namespaces, Down::PowerOff) => exit(EXIT_POWER_OFF),
    }
}

/// Asks the kernel, without any ceremony.
pub fn now(how: Down) -> ! {
    let mode = match how {
        Down::Reboot => RebootMode::RB_AUTOBOOT,
        Down::PowerOff => RebootMode::RB_POWER_OFF,
    };
    let Err(errno) = reboot(mode);
    console::error(format_args!(
        "reboot(2) to {how}: {errno}; ending PID 1, upon which the kernel starts again"
    ));
    exit(1)
}
