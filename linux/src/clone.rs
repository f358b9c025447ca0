//! New processes in new namespaces and straight into a cgroup, man 2 clone3.
//!
//! Two doors: [`fork`] for programs that have one thread, whose child may do anything; [`execute`] for all others, whose
//! child makes system calls and nothing else before it becomes another program.

use crate::Error;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// man 2 clone3; libc's constant does not fit the type that libc gives it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child process that the caller has to wait for.
#[derive(Debug)]
pub struct Child {
    /// Its number as the caller counts.
    pub pid: u32,
    /// The process itself, which no later process can be mistaken for.
    pub pidfd: OwnedFd,
}

/// Which namespaces are new, as `CLONE_NEW…` of libc.
pub type Namespaces = libc::c_int;

/// The fact that this process has one thread, so that no lock can be held by a thread that a fork leaves behind.
#[derive(Debug)]
pub struct SingleThreaded(());

// === impl SingleThreaded ===

impl SingleThreaded {
    /// Counts the threads. Whoever keeps the proof must not start a thread later.
    pub fn prove() -> Option<Self> {
        let threads = std::fs::read_dir("/proc/self/task").ok()?.count();
        (threads == 1).then_some(SingleThreaded(()))
    }
}

/// Runs `child` in a new process and ends it with what `child` returns. The child has the caller's memory, but none of its threads.
pub fn fork(
    _proof: &SingleThreaded,
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> Result<Child, Error> {
    match clone3(namespaces, cgroup)? {
        Some(started) => Ok(started),
        None => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            exit(outcome.unwrap_or(PANICKED))
        }
    }
}

/// What a child that panicked returns: as a Rust program would.
const PANICKED: i32 = 101;

/// A program to become.
#[derive(Debug)]
pub struct Execution<'a> {
    /// Path, not looked up anywhere.
    pub program: &'a CStr,
    /// Arguments, the program's name first. The environment is empty.
    pub arguments: &'a [&'a CStr],
    /// What it has as standard input, output and error.
    pub stdio: BorrowedFd<'a>,
    /// What it has as descriptors 3 and 4.
    pub extra: [BorrowedFd<'a>; EXTRA],
}

/// How many descriptors a program is given besides the standard three.
const EXTRA: usize = 2;

/// A child that becomes another program.
#[derive(Debug)]
pub struct Executing {
    /// The child.
    pub child: Child,
    failure: OwnedFd,
}

/// Starts a program as leader of a session of its own with no descriptor but 0 to 4. Waits for nothing: whoever hears that a
/// pipe among the last two is closed without a word asks [`Executing::failure`] why.
pub fn execute(
    execution: &Execution<'_>,
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Executing, Error> {
    let mut arguments: Vec<*const libc::c_char> = execution.arguments.iter().map(|a| a.as_ptr()).collect();
    arguments.push(std::ptr::null());
    // Above 4, so that the child's own descriptors cannot be one of these.
    let stdio = high(execution.stdio)?;
    let extra = [high(execution.extra[0])?, high(execution.extra[1])?];
    let (failure, low) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(Error::nix("pipe2"))?;
    rustix::io::ioctl_fionbio(&failure, true).map_err(Error::rustix("ioctl(FIONBIO)"))?;
    let failed = high(std::os::fd::AsFd::as_fd(&low))?;
    // Its end is what says that the program was executed, so nobody but the child may hold the other side.
    drop(low);
    let becoming = Becoming {
        program: execution.program,
        arguments: &arguments,
        stdio: stdio.as_raw_fd(),
        extra: extra.each_ref().map(AsRawFd::as_raw_fd),
        failed: failed.as_raw_fd(),
    };
    let child = borrow(namespaces, cgroup, &becoming)?;
    Ok(Executing { child, failure })
}

// === impl Executing ===

impl Executing {
    /// Why the program could not be executed, if that is known already; the child is gone then but for its exit. Does not block.
    pub fn failure(&self) -> Option<Error> {
        let mut errno = [0; 4];
        let got = rustix::io::retry_on_intr(|| rustix::io::read(&self.failure, &mut errno));
        (got == Ok(errno.len())).then(|| Error {
            call: "execve",
            errno: i32::from_ne_bytes(errno),
        })
    }
}

/// Descriptors 3 and 4 as [`execute`] gave them to this program; once.
pub fn extra() -> Option<[OwnedFd; EXTRA]> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    // SAFETY: no pointer is passed; asks whether the descriptor is open.
    let open = |number| unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    if !open(3) || !open(4) || TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: it is open, and nobody else took it from here.
    Some([3, 4].map(|number| unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Makes these the calling process's standard input, output and error.
pub fn set_stdio(stdio: [BorrowedFd<'_>; 3]) -> Result<(), Error> {
    // Above the three first, so that none is overwritten before it is copied.
    let copies = [high(stdio[0])?, high(stdio[1])?, high(stdio[2])?];
    for (number, copy) in copies.iter().enumerate() {
        // SAFETY: no pointer is passed. 0 to 2 are nobody's `OwnedFd`.
        if unsafe { libc::dup2(copy.as_raw_fd(), number as RawFd) } < 0 {
            return Err(Error::last("dup2"));
        }
    }
    Ok(())
}

/// Closes every descriptor of the calling process: for one that does nothing from here on. Who owns one must not use it again.
pub fn close_everything() -> Result<(), Error> {
    // SAFETY: no pointer is passed. What owns a descriptor is never dropped, because the caller does nothing any more.
    match unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(Error::last("close_range")),
    }
}

/// Becomes another program; returns only if that failed.
pub fn replace(program: &CStr, arguments: &[CString], environment: &[CString]) -> Error {
    match nix::unistd::execve(program, arguments, environment) {
        Ok(never) => match never {},
        Err(errno) => Error::nix("execve")(errno),
    }
}

/// A copy whose number is at least 10.
fn high(fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    rustix::io::fcntl_dupfd_cloexec(fd, 10).map_err(Error::rustix("fcntl(F_DUPFD_CLOEXEC)"))
}

/// What the child of [`execute`] needs, in memory that is still its parent's.
struct Becoming<'a> {
    program: &'a CStr,
    /// Ends in null.
    arguments: &'a [*const libc::c_char],
    stdio: RawFd,
    extra: [RawFd; EXTRA],
    /// Where it says why it could not be executed.
    failed: RawFd,
}

/// Room for the few calls of [`become_program`].
const STACK: usize = 32 << 10;

/// Starts a child that borrows this process's memory, on a stack of its own, while the calling thread waits until it has become
/// another program (CLONE_VM and CLONE_VFORK): nothing is copied, however large this process is.
fn borrow(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>, becoming: &Becoming<'_>) -> Result<Child, Error> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut pidfd: RawFd = -1;
    let mut args = arguments(namespaces, cgroup, &mut pidfd);
    args.flags |= (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    args.stack = stack.as_mut_ptr() as u64;
    args.stack_size = STACK as u64;
    // A handler that ran in the child would work on the parent's memory. The child lets signals in right before it executes, when
    // nobody knows its number yet.
    let blocked = block_signals();
    let pid: libc::c_long;
    // SAFETY: `args`, `pidfd`, the stack and `becoming` outlive the call, which returns here only in the parent, after the child
    // has executed a program or is gone. The child begins on the stack's end, aligned as the ABI wants it before a call, and
    // `become_program` never returns. System calls overwrite rcx and r11, and keep r8 and r9.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "2:",
            in("r8") becoming,
            in("r9") become_program as extern "C" fn(&Becoming<'_>) -> !,
            inlateout("rax") libc::SYS_clone3 => pid,
            in("rdi") &raw mut args,
            in("rsi") size_of::<libc::clone_args>(),
            out("rcx") _,
            out("r11") _,
        );
    }
    restore_signals(&blocked);
    match pid {
        1.. => Ok(Child {
            pid: pid as u32,
            // SAFETY: the kernel has just opened it for us (CLONE_PIDFD).
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
        _ => Err(Error {
            call: "clone3",
            errno: -pid as i32,
        }),
    }
}

/// Blocks every signal for this thread; what was blocked before.
fn block_signals() -> libc::sigset_t {
    // SAFETY: sigset_t is plain data for which all zeros is a value.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
    // SAFETY: writes one sigset_t that is ours.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: the kernel reads one and writes the other, which both outlive the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    before
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the kernel reads one sigset_t that outlives the call; nothing is written back.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// The child of a process that may have many threads, in its parent's memory: no allocation, no locks, no logging from here on.
extern "C" fn become_program(becoming: &Becoming<'_>) -> ! {
    let &Becoming {
        program,
        arguments,
        stdio,
        extra,
        failed,
    } = becoming;
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: no pointer is passed.
    unsafe { libc::setsid() };
    for number in 0..3 {
        // SAFETY: no pointer is passed; both numbers are open or become so.
        unsafe { libc::dup2(stdio, number) };
    }
    for (number, given) in (3..).zip(extra) {
        // SAFETY: as above.
        unsafe { libc::dup2(given, number) };
    }
    // SAFETY: no pointer is passed; closes on exec what nobody here uses after it.
    unsafe { libc::syscall(libc::SYS_close_range, 5, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    unblock_signals();
    // SAFETY: all three are or point to arrays of strings that end in null and outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    let errno = std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
        .to_ne_bytes();
    // SAFETY: the kernel reads four bytes of a live array.
    unsafe { libc::write(failed, errno.as_ptr().cast(), errno.len()) };
    exit(127)
}

/// Gives the calling process an empty signal mask.
fn unblock_signals() {
    // SAFETY: sigset_t is plain data for which all zeros is the empty set on Linux.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads one sigset_t that outlives the call; nothing is written back.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) };
}

fn exit(code: i32) -> ! {
    // SAFETY: never returns; runs no destructors or exit handlers, which belong to the parent.
    unsafe { libc::_exit(code) }
}

/// What both ways of making a process ask for; the process's descriptor comes to `pidfd`.
fn arguments(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>, pidfd: &mut RawFd) -> libc::clone_args {
    // SAFETY: clone_args is plain data for which all zeros is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces as u32 as u64 | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    args
}

/// A copy of a process with one thread; `None` in the child.
fn clone3(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Option<Child>, Error> {
    let mut pidfd: RawFd = -1;
    let mut args = arguments(namespaces, cgroup, &mut pidfd);
    // SAFETY: `args` and `pidfd` outlive the call; without CLONE_VM the child runs on a copy of this stack. There is no second
    // thread whose lock it could meet.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        0 => Ok(None),
        1.. => Ok(Some(Child {
            pid: pid as u32,
            // SAFETY: the kernel has just opened it for us (CLONE_PIDFD).
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        })),
        _ => Err(Error::last("clone3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let execution = Execution {
            program: c"/no/such",
            arguments: &[c"such"],
            stdio: null.as_fd(),
            extra: [null.as_fd(); EXTRA],
        };
        let executing = execute(&execution, 0, None).unwrap();
        crate::pidfd::reap(&executing.child.pidfd).unwrap();
        assert_eq!(executing.failure().unwrap().errno, libc::ENOENT);
    }

    /// What a shell writes to descriptor 3.
    fn says(script: &CStr) -> String {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let execution = Execution {
            program: c"/bin/sh",
            arguments: &[c"sh", c"-c", script],
            stdio: null.as_fd(),
            extra: [writer.as_fd(), null.as_fd()],
        };
        let executing = execute(&execution, 0, None).unwrap();
        drop(writer);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut reader, &mut said).unwrap();
        assert!(executing.failure().is_none());
        crate::pidfd::reap(&executing.child.pidfd).unwrap();
        said
    }

    /// Children that borrow one memory at once do not meet, and leave their parents the signals that they had.
    #[test]
    fn many_threads_start_programs_at_once() {
        let start = || {
            // SAFETY: sigset_t is plain data for which all zeros is the empty set on Linux.
            let mut wanted: libc::sigset_t = unsafe { std::mem::zeroed() };
            // SAFETY: writes one sigset_t that is ours.
            unsafe { libc::sigaddset(&raw mut wanted, libc::SIGUSR2) };
            restore_signals(&wanted);
            let said = [(); 3].map(|()| says(c"grep SigBlk /proc/self/status >&3"));
            let left = block_signals();
            // SAFETY: reads one sigset_t that is ours.
            let blocked = |signal| unsafe { libc::sigismember(&raw const left, signal) };
            (said, blocked(libc::SIGUSR2), blocked(libc::SIGUSR1))
        };
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(start)).collect();
        for thread in threads {
            let (said, is_blocked, other_is_blocked) = thread.join().unwrap();
            assert_eq!(said, ["SigBlk:\t0000000000000000\n"; 3]);
            assert_eq!((is_blocked, other_is_blocked), (1, 0));
        }
    }

    #[test]
    fn a_program_gets_two_more_descriptors_than_the_standard_three() {
        let said = says(c"echo /proc/self/fd/* >&3");
        // The shell itself opens /proc/self/fd to list it.
        assert!(
            said.starts_with("/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3 /proc/self/fd/4"),
            "{said}"
        );
        assert!(!said.contains("/10"), "{said}");
    }
}
