//! Assembles the filter: the number of a call is found by a binary search over runs of equal verdicts.

use super::list::{ALWAYS, FORBIDDEN_FAMILY, NEW_NAMESPACES, NEWEST, PERSONALITIES, WITH};
use linux::seccomp::Instruction;

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

/// Places in `struct seccomp_data` (linux/seccomp.h); arguments are 64 bits wide, these are their lower halves.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
/// linux/audit.h.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// The filter for a container with these capabilities.
pub fn runtime_default(capabilities: &[String]) -> Vec<Instruction> {
    let mut program = vec![
        load(ARCHITECTURE),
        // Another architecture counts its calls otherwise; no number means what the list says.
        jump(libc::BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    program.extend(search(&runs(capabilities)));
    program
}

fn runs(capabilities: &[String]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for number in 0..=NEWEST {
        let verdict = verdict(i64::from(number), capabilities);
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

fn verdict(number: i64, capabilities: &[String]) -> Verdict {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let by_capability = WITH.iter().any(|(name, calls)| calls.contains(&number) && has(name));
    if ALWAYS.contains(&number) || by_capability {
        return Verdict::Allow;
    }
    match number {
        libc::SYS_clone => Verdict::CloneFlags,
        // Its flags are in memory, where a filter cannot look; libraries fall back to clone.
        libc::SYS_clone3 => Verdict::Fail(libc::ENOSYS),
        libc::SYS_personality => Verdict::Personality,
        libc::SYS_socket => Verdict::Socket,
        _ => Verdict::Fail(libc::EPERM),
    }
}

fn search(runs: &[Run]) -> Vec<Instruction> {
    if let [only] = runs {
        return leaf(only.verdict);
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let (first, low, high) = (high[0].first, search(low), search(high));
    let mut program = match u8::try_from(low.len()) {
        Ok(length) => vec![jump(libc::BPF_JGE, first, length, 0)],
        // A conditional jump reaches 255 instructions, an unconditional one any number.
        Err(_) => vec![
            jump(libc::BPF_JGE, first, 0, 1),
            statement(libc::BPF_JMP | libc::BPF_JA, low.len() as u32),
        ],
    };
    program.extend(low);
    program.extend(high);
    program
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![answer(libc::SECCOMP_RET_ALLOW)],
        Verdict::Fail(errno) => vec![fail(errno)],
        Verdict::CloneFlags => vec![
            load(FIRST_ARGUMENT),
            jump(libc::BPF_JSET, NEW_NAMESPACES, 1, 0),
            answer(libc::SECCOMP_RET_ALLOW),
            fail(libc::EPERM),
        ],
        Verdict::Personality => {
            let mut program = vec![load(FIRST_ARGUMENT)];
            for (nth, value) in PERSONALITIES.iter().enumerate() {
                program.push(jump(libc::BPF_JEQ, *value, (PERSONALITIES.len() - nth) as u8, 0));
            }
            program.extend([fail(libc::EPERM), answer(libc::SECCOMP_RET_ALLOW)]);
            program
        }
        Verdict::Socket => vec![
            load(FIRST_ARGUMENT),
            jump(libc::BPF_JEQ, FORBIDDEN_FAMILY, 1, 0),
            answer(libc::SECCOMP_RET_ALLOW),
            fail(libc::EPERM),
        ],
    }
}

fn load(place: u32) -> Instruction {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, place)
}

fn jump(condition: u32, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code: (libc::BPF_JMP | condition | libc::BPF_K) as u16,
        jt: if_true,
        jf: if_false,
        k: value,
    }
}

fn fail(errno: i32) -> Instruction {
    answer(libc::SECCOMP_RET_ERRNO | errno as u32)
}

fn answer(action: u32) -> Instruction {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

fn statement(code: u32, value: u32) -> Instruction {
    Instruction {
        code: code as u16,
        jt: 0,
        jf: 0,
        k: value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// What the kernel's interpreter would answer.
    fn interpret(program: &[Instruction], arch: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let condition = match u32::from(code) & 0xf0 {
                _ if u32::from(code) & 7 == libc::BPF_RET => return k,
                _ if u32::from(code) & 7 == libc::BPF_LD => {
                    accumulator = match k {
                        NUMBER => number,
                        ARCHITECTURE => arch,
                        FIRST_ARGUMENT => argument,
                        other => panic!("loads from {other}"),
                    };
                    continue;
                }
                libc::BPF_JA => {
                    at += k as usize;
                    continue;
                }
                libc::BPF_JEQ => accumulator == k,
                libc::BPF_JGE => accumulator >= k,
                libc::BPF_JSET => accumulator & k != 0,
                other => panic!("instruction {other:#x}"),
            };
            at += usize::from(if condition { jt } else { jf });
        }
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
            let said = interpret(&program, AUDIT_ARCH_X86_64, number as u32, argument);
            assert_eq!(said, expected, "call {number} with {argument:#x}");
        }
        assert_eq!(interpret(&program, 0x4000_0003, 0, 0), KILL);
    }

    #[test]
    fn every_number_finds_its_own_verdict() {
        let capabilities = ["CAP_SYS_ADMIN".to_owned()];
        let program = runtime_default(&capabilities);
        for number in 0..=NEWEST {
            let expected = match verdict(i64::from(number), &capabilities) {
                Verdict::Allow | Verdict::CloneFlags | Verdict::Personality | Verdict::Socket => ALLOW,
                Verdict::Fail(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            };
            assert_eq!(
                interpret(&program, AUDIT_ARCH_X86_64, number, 0),
                expected,
                "call {number}"
            );
        }
    }
}
