//! Children that do not outlive whoever started them (man 2 PR_SET_PDEATHSIG).

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Have the kernel kill the child with SIGKILL when the *thread* that spawns it ends; so spawn from one that waits for it.
pub fn die_with_thread(command: &mut Command) {
    let set = || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(set) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    #[test]
    fn the_child_dies_with_its_thread() {
        let spawn = || {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped());
            die_with_thread(&mut command);
            command.spawn().unwrap()
        };
        let mut child = std::thread::spawn(spawn).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
