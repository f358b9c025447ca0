//! Becoming the container's program: looking it up as execvp(3) does, and saying plainly why it could not be executed.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where a program without a slash is looked for when the environment has no PATH; what Docker and containerd assume.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns only when it failed, with a sentence for people.
pub fn execute(argv: &[String], env: &[(String, String)]) -> String {
    let Some(name) = argv.first().filter(|name| !name.is_empty()) else {
        return "exec: the container has no command".to_owned();
    };
    let arguments: Result<Vec<CString>, _> = argv.iter().map(|word| CString::new(word.as_str())).collect();
    let variables: Result<Vec<CString>, _> = env
        .iter()
        .map(|(key, value)| CString::new(format!("{key}={value}")))
        .collect();
    let (Ok(arguments), Ok(variables)) = (arguments, variables) else {
        return format!("exec {name}: its arguments or environment hold a zero byte");
    };
    if name.contains('/') {
        return attempt(name.as_bytes(), &arguments, &variables).1;
    }
    let path = env
        .iter()
        .rev()
        .find(|(key, _)| key == "PATH")
        .map_or(DEFAULT_PATH, |(_, path)| path);
    let mut sentence = format!("exec {name}: no such program in the image's PATH ({path})");
    for folder in path.split(':') {
        let folder = if folder.is_empty() { "." } else { folder };
        let (error, said) = attempt(format!("{folder}/{name}").as_bytes(), &arguments, &variables);
        // As execvp(3): look on, but remember that something was there.
        match error.errno {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => sentence = said,
            _ => return said,
        }
    }
    sentence
}

fn attempt(path: &[u8], arguments: &[CString], variables: &[CString]) -> (linux::Error, String) {
    let shown = String::from_utf8_lossy(path).into_owned();
    let Ok(program) = CString::new(path) else {
        let error = linux::Error {
            call: "execve",
            errno: libc::ENOENT,
        };
        return (error, format!("exec {shown}: its name holds a zero byte"));
    };
    let error = linux::clone::replace(&program, arguments, variables);
    let is_there = Path::new(OsStr::from_bytes(path)).exists();
    let said = match error.errno {
        libc::ENOENT if is_there => {
            format!("exec {shown}: it is there, but its interpreter or loader is not in the image")
        }
        libc::ENOENT => format!("exec {shown}: No such file or directory in the image"),
        libc::EACCES => {
            format!("exec {shown}: Permission denied; it is a folder, not executable, or not for this user")
        }
        libc::ENOEXEC => format!("exec {shown}: it is no program of this machine's kind and has no #! line"),
        errno => format!("exec {shown}: {}", std::io::Error::from_raw_os_error(errno)),
    };
    (error, said)
}
