//! System call filters as classic BPF (linux/filter.h, linux/seccomp.h), whoever decides what becomes of a call: its number is
//! found by a binary search over runs of calls that are treated alike.

use serde::{Deserialize, Serialize};

/// One instruction, as `struct sock_filter` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are skipped if it is so.
    pub jt: u8,
    /// And how many if not.
    pub jf: u8,
    /// A value, or a place.
    pub k: u32,
}

/// Calls from this number on, up to the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The lowest number.
    pub first: u32,
    /// What is done about them; it ends with an answer.
    pub program: Vec<Instruction>,
}

/// Places in `struct seccomp_data`: the call's number, its architecture, and six arguments of 64 bits, the lower half first.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// Where the first argument is.
pub const ARGUMENTS: u32 = 16;
/// The only architecture whose numbers mean anything here (linux/audit.h).
pub const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// The filter of `runs`, of which there is at least one, in the order of their numbers.
pub fn assemble(runs: &[Run]) -> Vec<Instruction> {
    let mut program = vec![
        load(ARCHITECTURE),
        // Another architecture counts its calls otherwise.
        jump(libc::BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    program.extend(search(runs));
    program
}

fn search(runs: &[Run]) -> Vec<Instruction> {
    if let [only] = runs {
        return only.program.clone();
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

/// Loads a half of the call's data, at its place.
pub fn load(place: u32) -> Instruction {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, place)
}

/// Compares what is loaded, and skips that many instructions.
pub fn jump(condition: u32, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code: (libc::BPF_JMP | condition | libc::BPF_K) as u16,
        jt: if_true,
        jf: if_false,
        k: value,
    }
}

/// Ends with one of SECCOMP_RET_*.
pub fn answer(action: u32) -> Instruction {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

/// Whatever else needs a value alone.
pub fn statement(code: u32, value: u32) -> Instruction {
    Instruction {
        code: code as u16,
        jt: 0,
        jf: 0,
        k: value,
    }
}

/// What the kernel would answer, for tests of filters; none where a program has an instruction that none of ours has.
pub fn interpret(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> Option<u32> {
    let (mut at, mut loaded) = (0, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = *program.get(at)?;
        at += 1;
        let code = u32::from(code);
        let is_so = match (code & 0x07, code & 0xf0) {
            (libc::BPF_RET, _) => return Some(k),
            (libc::BPF_LD, _) => {
                loaded = match k {
                    NUMBER => number,
                    ARCHITECTURE => architecture,
                    place => half(arguments, place.checked_sub(ARGUMENTS)?)?,
                };
                continue;
            }
            (libc::BPF_ALU, libc::BPF_AND) => {
                loaded &= k;
                continue;
            }
            (libc::BPF_JMP, libc::BPF_JA) => {
                at += k as usize;
                continue;
            }
            (libc::BPF_JMP, libc::BPF_JEQ) => loaded == k,
            (libc::BPF_JMP, libc::BPF_JGE) => loaded >= k,
            (libc::BPF_JMP, libc::BPF_JGT) => loaded > k,
            (libc::BPF_JMP, libc::BPF_JSET) => loaded & k != 0,
            _ => return None,
        };
        at += usize::from(if is_so { jt } else { jf });
    }
}

fn half(arguments: [u64; 6], place: u32) -> Option<u32> {
    let argument = arguments.get((place / 8) as usize)?;
    Some(if place.is_multiple_of(8) {
        *argument as u32
    } else {
        (argument >> 32) as u32
    })
}
