//! System call filters, man 2 seccomp: the programs are the caller's.

use crate::Error;

/// One instruction of classic BPF, `struct sock_filter`.
pub type Instruction = libc::sock_filter;

/// Filters every later call of this process and its children. Needs `no_new_privs` or CAP_SYS_ADMIN.
pub fn install(program: &[Instruction]) -> Result<(), Error> {
    let length = u16::try_from(program.len()).map_err(|_| Error {
        call: "seccomp",
        errno: libc::E2BIG,
    })?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions, which outlive the call, and writes nothing.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if done < 0 { Err(Error::last("seccomp")) } else { Ok(()) }
}
