//! Rules as a filter: one after the other, each with its conditions.

use super::profile::{Condition, Operator, Rule, Rules};
use nix::libc;
use sandbox::filter::{self, ARGUMENTS, Instruction, answer, statement};

/// Calls from this number on, up to the next run.
struct Run<'a> {
    first: u32,
    rules: &'a [Rule],
    /// When none of them holds.
    otherwise: u32,
}

/// Where a comparison leads.
#[derive(Clone, Copy, PartialEq)]
enum To {
    /// The next instruction.
    Next,
    /// The condition holds.
    Holds,
    /// It does not.
    Fails,
}

/// One instruction of a condition.
struct Step {
    code: u32,
    value: u32,
    yes: To,
    no: To,
}

/// The filter.
pub fn assemble(rules: &Rules) -> Vec<Instruction> {
    let runs = runs(rules).into_iter().map(|run| filter::Run {
        first: run.first,
        program: leaf(&run),
    });
    filter::assemble(&runs.collect::<Vec<_>>())
}

fn runs(rules: &Rules) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    let last = rules.calls.keys().next_back().copied();
    for number in 0..=last.unwrap_or(0) {
        let own = rules.calls.get(&number).map(Vec::as_slice).unwrap_or_default();
        if runs.last().is_none_or(|run| run.rules != own) {
            runs.push(Run {
                first: number,
                rules: own,
                otherwise: rules.default,
            });
        }
    }
    // The calls of x32 are up there, too.
    runs.push(Run {
        first: last.unwrap_or(0) + 1,
        rules: &[],
        otherwise: rules.newer,
    });
    runs
}

fn leaf(run: &Run<'_>) -> Vec<Instruction> {
    let mut program: Vec<Instruction> = run.rules.iter().flat_map(one).collect();
    if run.rules.last().is_none_or(|rule| !rule.conditions.is_empty()) {
        program.push(answer(run.otherwise));
    }
    program
}

/// A rule's conditions, then its answer; past that where one of them fails.
fn one(rule: &Rule) -> Vec<Instruction> {
    let conditions: Vec<Vec<Step>> = rule.conditions.iter().map(steps).collect();
    let length: usize = conditions.iter().map(Vec::len).sum();
    let mut program = Vec::with_capacity(length + 1);
    for condition in &conditions {
        let end = program.len() + condition.len();
        for step in condition {
            let here = program.len();
            let reach = |to: To| match to {
                To::Next => 0,
                To::Holds => (end - here - 1) as u8,
                To::Fails => (length - here) as u8,
            };
            program.push(match step.code & 0x07 {
                libc::BPF_JMP => Instruction {
                    code: step.code as u16,
                    jt: reach(step.yes),
                    jf: reach(step.no),
                    k: step.value,
                },
                _ => statement(step.code, step.value),
            });
        }
    }
    program.push(answer(rule.action));
    program
}

fn steps(condition: &Condition) -> Vec<Step> {
    let place = ARGUMENTS + 8 * condition.index;
    let (high, low) = ((condition.value >> 32) as u32, condition.value as u32);
    let load = |place| Step {
        code: libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        value: place,
        yes: To::Next,
        no: To::Next,
    };
    let test = |how: u32, value, yes, no| Step {
        code: libc::BPF_JMP | how | libc::BPF_K,
        value,
        yes,
        no,
    };
    let and = |mask| Step {
        code: libc::BPF_ALU | libc::BPF_AND | libc::BPF_K,
        value: mask,
        yes: To::Next,
        no: To::Next,
    };
    // `how` decides between the lower halves where the upper ones are equal.
    let order = |how: u32, greater, equal_yes, equal_no, less| {
        vec![
            load(place + 4),
            test(libc::BPF_JGT, high, greater, To::Next),
            test(libc::BPF_JEQ, high, To::Next, less),
            load(place),
            test(how, low, equal_yes, equal_no),
        ]
    };
    match condition.operator {
        Operator::Equal => vec![
            load(place + 4),
            test(libc::BPF_JEQ, high, To::Next, To::Fails),
            load(place),
            test(libc::BPF_JEQ, low, To::Holds, To::Fails),
        ],
        Operator::NotEqual => vec![
            load(place + 4),
            test(libc::BPF_JEQ, high, To::Next, To::Holds),
            load(place),
            test(libc::BPF_JEQ, low, To::Fails, To::Holds),
        ],
        Operator::Greater => order(libc::BPF_JGT, To::Holds, To::Holds, To::Fails, To::Fails),
        Operator::GreaterOrEqual => order(libc::BPF_JGE, To::Holds, To::Holds, To::Fails, To::Fails),
        Operator::Less => order(libc::BPF_JGE, To::Fails, To::Fails, To::Holds, To::Holds),
        Operator::LessOrEqual => order(libc::BPF_JGT, To::Fails, To::Fails, To::Holds, To::Holds),
        Operator::Masked(mask) => vec![
            load(place + 4),
            and((mask >> 32) as u32),
            test(libc::BPF_JEQ, high, To::Next, To::Fails),
            load(place),
            and(mask as u32),
            test(libc::BPF_JEQ, low, To::Holds, To::Fails),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::{calls, compile, profile::Profile};
    use super::*;
    use sandbox::Seccomp;
    use sandbox::filter::AUDIT_ARCH_X86_64;
    use serde_json::{Value, json};

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    const LOG: u32 = libc::SECCOMP_RET_LOG;

    fn filter(profile: &Value, capabilities: &[&str]) -> Vec<Instruction> {
        let capabilities: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
        match compile(profile.to_string().as_bytes(), &capabilities).unwrap() {
            Seccomp::Program(program) => program,
            other => panic!("{other:?} is no program"),
        }
    }

    fn ask(program: &[Instruction], call: &str, arguments: &[u64]) -> u32 {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        filter::interpret(program, AUDIT_ARCH_X86_64, calls::number(call).unwrap(), all).unwrap()
    }

    #[test]
    fn profiles_mean_what_the_runtimes_make_of_them() {
        let program = filter(
            &json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
                {"names": ["read", "no_such_call", "mkdirat"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["uname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
                {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
                {"names": ["setns"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
                {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "2.6"}},
                {"name": "personality", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
                {"names": ["personality"], "action": "SCMP_ACT_LOG", "args": [
                    {"index": 0, "value": 9, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 10, "op": "SCMP_CMP_EQ"}]}]}),
            &["CAP_SYS_CHROOT"],
        );
        for (call, argument, expected) in [
            ("read", 0, ALLOW),
            ("write", 0, EPERM),
            ("mkdirat", 0, ALLOW),
            ("uname", 0, ENOSYS),
            ("chroot", 0, ALLOW),
            ("mount", 0, EPERM),
            ("setns", 0, EPERM),
            ("bpf", 0, ALLOW),
            ("personality", 8, ALLOW),
            ("personality", 9, LOG),
            ("personality", 10, LOG),
            ("personality", 11, EPERM),
            ("clone3", 0, ENOSYS),
        ] {
            assert_eq!(ask(&program, call, &[argument]), expected, "{call} {argument}");
        }
        assert_eq!(
            filter::interpret(&program, 0x4000_0003, 0, [0; 6]).unwrap(),
            libc::SECCOMP_RET_KILL_PROCESS
        );
    }

    #[test]
    fn a_permissive_profile_forbids_only_what_it_names() {
        let program = filter(
            &json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["unlinkat", "unlink"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}),
            &[],
        );
        let eacces = libc::SECCOMP_RET_ERRNO | libc::EACCES as u32;
        assert_eq!(ask(&program, "unlink", &[]), eacces);
        assert_eq!(
            (ask(&program, "read", &[]), ask(&program, "mseal", &[])),
            (ALLOW, ALLOW)
        );
        assert_eq!(
            ask(&filter(&json!({"defaultAction": "SCMP_ACT_LOG"}), &[]), "read", &[]),
            LOG
        );
    }

    #[test]
    fn arguments_are_compared_in_all_their_bits() {
        const BIG: u64 = 0x1_0000_0005;
        let cases: [(&str, [bool; 4]); 6] = [
            // Against 5, BIG - 1, BIG, BIG + 1.
            ("SCMP_CMP_EQ", [false, false, true, false]),
            ("SCMP_CMP_NE", [true, true, false, true]),
            ("SCMP_CMP_LT", [true, true, false, false]),
            ("SCMP_CMP_LE", [true, true, true, false]),
            ("SCMP_CMP_GT", [false, false, false, true]),
            ("SCMP_CMP_GE", [false, false, true, true]),
        ];
        for (operator, expected) in cases {
            let args =
                json!([{"index": 1, "value": BIG, "op": operator}, {"index": 2, "value": 3, "op": "SCMP_CMP_EQ"}]);
            let program = filter(
                &json!({"defaultAction": "SCMP_ACT_ERRNO",
                    "syscalls": [{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": args}]}),
                &[],
            );
            for (argument, expected) in [5, BIG - 1, BIG, BIG + 1].into_iter().zip(expected) {
                let wanted = if expected { ALLOW } else { EPERM };
                assert_eq!(
                    ask(&program, "ioctl", &[0, argument, 3]),
                    wanted,
                    "{argument:#x} {operator}"
                );
                assert_eq!(ask(&program, "ioctl", &[0, argument, 4]), EPERM);
            }
        }
        let args = json!([{"index": 0, "value": 0xff00_0000_00f0_u64, "valueTwo": 0x1200_0000_0030_u64, "op": "SCMP_CMP_MASKED_EQ"}]);
        let program = filter(
            &json!({"defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": args}]}),
            &[],
        );
        assert_eq!(ask(&program, "clone", &[0x1234_5678_9a3c]), ALLOW);
        assert_eq!(ask(&program, "clone", &[0x1334_5678_9a3c]), EPERM);
        assert_eq!(ask(&program, "clone", &[0x1234_5678_9a4c]), EPERM);
    }

    #[test]
    fn nonsense_is_refused_in_one_sentence() {
        let rules = |profile: Value| {
            serde_json::from_value::<Profile>(profile)
                .unwrap()
                .rules(&[])
                .unwrap_err()
        };
        assert_eq!(rules(json!({"defaultAction": "DANCE"})), "\"DANCE\" is no action");
        let entry = |args: Value| {
            json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": args}]})
        };
        let far = json!([{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]);
        assert_eq!(rules(entry(far)), "a call has no argument 6");
        let odd = json!([{"index": 0, "value": 0, "op": "SCMP_CMP_ABOUT"}]);
        assert_eq!(rules(entry(odd)), "\"SCMP_CMP_ABOUT\" compares nothing");
        assert!(compile(b"{", &[]).is_err());
    }
}
