//! The default filter: what the list says of each call.

use super::list::{ALWAYS, FORBIDDEN_FAMILY, NEW_NAMESPACES, NEWEST, PERSONALITIES, WITH};
use sandbox::filter::{self, ARGUMENTS, Instruction, answer, jump, load};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Fail(i32),
    /// clone(2) without new namespaces.
    CloneFlags,
    /// personality(2) as one of a few.
    Personality,
    /// socket(2) of any family but one.
    Socket,
}

/// Calls from this number on, up to the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    verdict: Verdict,
}

/// The filter for a container with these capabilities.
pub fn runtime_default(capabilities: &[String]) -> Vec<Instruction> {
    let runs = runs(capabilities).into_iter().map(|run| filter::Run {
        first: run.first,
        program: leaf(run.verdict),
    });
    filter::assemble(&runs.collect::<Vec<_>>())
}

fn runs(capabilities: &[String]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, &verdict) in (0..).zip(&verdicts(capabilities)) {
        if runs.last().is_none_or(|last| last.verdict != verdict) {
            runs.push(Run { first: number, verdict });
        }
    }
    // The calls of x32 are up there, too.
    runs.push(Run {
        first: NEWEST + 1,
        verdict: Verdict::Fail(libc::ENOSYS),
    });
    runs
}

/// What happens to each call up to [`NEWEST`].
fn verdicts(capabilities: &[String]) -> Vec<Verdict> {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let mut verdicts = vec![Verdict::Fail(libc::EPERM); NEWEST as usize + 1];
    let mut set = |number: libc::c_long, verdict| {
        let place = usize::try_from(number).ok().and_then(|number| verdicts.get_mut(number));
        if let Some(place) = place {
            *place = verdict;
        }
    };
    set(libc::SYS_clone, Verdict::CloneFlags);
    // Its flags are in memory, where a filter cannot look; libraries fall back to clone.
    set(libc::SYS_clone3, Verdict::Fail(libc::ENOSYS));
    set(libc::SYS_personality, Verdict::Personality);
    set(libc::SYS_socket, Verdict::Socket);
    // What a capability allows wins.
    let with = WITH.iter().filter(|(name, _)| has(name)).flat_map(|(_, calls)| *calls);
    for &number in ALWAYS.iter().chain(with) {
        set(number, Verdict::Allow);
    }
    verdicts
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![answer(libc::SECCOMP_RET_ALLOW)],
        Verdict::Fail(errno) => vec![fail(errno)],
        Verdict::CloneFlags => vec![
            load(ARGUMENTS),
            jump(libc::BPF_JSET, NEW_NAMESPACES, 1, 0),
            answer(libc::SECCOMP_RET_ALLOW),
            fail(libc::EPERM),
        ],
        Verdict::Personality => {
            let mut program = vec![load(ARGUMENTS)];
            for (nth, value) in PERSONALITIES.iter().enumerate() {
                program.push(jump(libc::BPF_JEQ, *value, (PERSONALITIES.len() - nth) as u8, 0));
            }
            program.extend([fail(libc::EPERM), answer(libc::SECCOMP_RET_ALLOW)]);
            program
        }
        Verdict::Socket => vec![
            load(ARGUMENTS),
            jump(libc::BPF_JEQ, FORBIDDEN_FAMILY, 1, 0),
            answer(libc::SECCOMP_RET_ALLOW),
            fail(libc::EPERM),
        ],
    }
}

fn fail(errno: i32) -> Instruction {
    answer(libc::SECCOMP_RET_ERRNO | errno as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox::filter::AUDIT_ARCH_X86_64;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    fn said(program: &[Instruction], architecture: u32, number: u32, argument: u32) -> u32 {
        let arguments = [argument.into(), 0, 0, 0, 0, 0];
        filter::interpret(program, architecture, number, arguments).unwrap()
    }

    #[test]
    fn calls_get_the_verdict_of_the_list() {
        let program = runtime_default(&[]);
        assert!(program.len() < 4096, "the kernel takes no more");
        let table = [
            (libc::SYS_read, 0, ALLOW),
            (libc::SYS_mount, 0, EPERM),
            (libc::SYS_clone, 0x11, ALLOW),
            (libc::SYS_clone, libc::CLONE_NEWUSER as u32, EPERM),
            (libc::SYS_clone3, 0, ENOSYS),
            (libc::SYS_personality, 0x20008, ALLOW),
            (libc::SYS_personality, 3, EPERM),
            (libc::SYS_socket, libc::AF_INET as u32, ALLOW),
            (libc::SYS_socket, libc::AF_VSOCK as u32, EPERM),
            (libc::SYS_unshare, 0, EPERM),
            (i64::from(NEWEST) + 1, 0, ENOSYS),
            (0x4000_0000, 0, ENOSYS),
        ];
        for (number, argument, expected) in table {
            let answer = said(&program, AUDIT_ARCH_X86_64, number as u32, argument);
            assert_eq!(answer, expected, "call {number} with {argument:#x}");
        }
        assert_eq!(said(&program, 0x4000_0003, 0, 0), KILL);
    }

    #[test]
    fn every_number_finds_its_own_verdict() {
        let capabilities = ["CAP_SYS_ADMIN".to_owned()];
        let program = runtime_default(&capabilities);
        for (number, verdict) in (0..).zip(verdicts(&capabilities)) {
            let expected = match verdict {
                Verdict::Allow | Verdict::CloneFlags | Verdict::Personality | Verdict::Socket => ALLOW,
                Verdict::Fail(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            };
            assert_eq!(said(&program, AUDIT_ARCH_X86_64, number, 0), expected, "call {number}");
        }
    }
}
