//! One program more in a running container, from clone to exec.

use crate::child::{self, Stdio};
use crate::program;
use crate::report::Reporter;
use crate::users::Users;
use sandbox::{ContainerPlan, ExecPlan};
use std::os::fd::BorrowedFd;

/// Where it runs.
pub struct Inside<'a> {
    pub container: &'a ContainerPlan,
    /// The container's first process.
    pub init: BorrowedFd<'a>,
    /// Users of the pod's own.
    pub users: Option<&'a Users>,
}

/// Returns only when it failed, and has told so then.
pub fn run(plan: &ExecPlan, inside: &Inside<'_>, stdio: Stdio, reporter: Reporter) -> i32 {
    let container = inside.container;
    if let Err(why) = prepare(plan, inside, &stdio, &reporter) {
        reporter.not_prepared(&why);
        return 1;
    }
    let env = if plan.env.is_empty() { &container.env } else { &plan.env };
    reporter.not_executed(&program::execute(&plan.argv, env));
    127
}

fn prepare(plan: &ExecPlan, inside: &Inside<'_>, stdio: &Stdio, reporter: &Reporter) -> Result<(), String> {
    let container = inside.container;
    child::set_oom_score(container.oom_score_adj)?;
    let entered = linux::namespaces::enter_files_of(inside.init);
    let entered = entered.and_then(|()| inside.users.map_or(Ok(()), Users::enter));
    entered.map_err(|error| format!("enter container {}: {error}", plan.container))?;
    let cwd = plan.cwd.as_ref().unwrap_or(&container.cwd);
    let user = plan.user.as_ref().unwrap_or(&container.user);
    child::finish(stdio, cwd, container, user, reporter)
}
