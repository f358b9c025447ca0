//! One program more in a running container, from clone to exec.

use crate::child::{self, Stdio};
use crate::program;
use crate::report::Reporter;
use sandbox::{ContainerPlan, ExecPlan};
use std::os::fd::BorrowedFd;

/// Returns only when it failed, and has told so then. `init` is the container's first process.
pub fn run(plan: &ExecPlan, container: &ContainerPlan, init: BorrowedFd<'_>, stdio: Stdio, reporter: Reporter) -> i32 {
    if let Err(why) = prepare(plan, container, init, &stdio, &reporter) {
        reporter.not_prepared(&why);
        return 1;
    }
    let env = if plan.env.is_empty() { &container.env } else { &plan.env };
    reporter.not_executed(&program::execute(&plan.argv, env));
    127
}

fn prepare(
    plan: &ExecPlan,
    container: &ContainerPlan,
    init: BorrowedFd<'_>,
    stdio: &Stdio,
    reporter: &Reporter,
) -> Result<(), String> {
    child::set_oom_score(container.oom_score_adj)?;
    linux::namespaces::enter_files_of(init).map_err(|error| format!("enter container {}: {error}", plan.container))?;
    let cwd = plan.cwd.as_ref().unwrap_or(&container.cwd);
    let user = plan.user.as_ref().unwrap_or(&container.user);
    child::finish(stdio, cwd, container, user, reporter)
}
