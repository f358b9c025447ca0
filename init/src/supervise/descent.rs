//! The machine's way down as a pure machine: which step comes next, given the clock and what is still alive.

use init_protocol::Down;

/// The steps, in order; each is left when it is settled, or when its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The agent hears of it, and ends the pods in the order that they have among each other.
    Farewell,
    /// The agent ends first, so that nobody restarts what is about to end.
    Agent,
    /// The control plane has had the agent's last words by now.
    Services,
    /// SIGTERM to everything in /kubepods.
    Pods,
    /// SIGKILL to what is left there.
    KillPods,
    /// SIGTERM to everything else.
    Rest,
    /// SIGKILL to it.
    KillRest,
    /// Sync, unmount, wipe; then the machine ends. Not left any more.
    Storage,
}

/// What is still alive.
#[derive(Clone, Copy, Debug)]
pub struct Alive {
    pub agent: bool,
    pub services: bool,
    pub pods: bool,
    pub anybody: bool,
}

/// A way down.
#[derive(Clone, Debug)]
pub struct Descent {
    pub how: Down,
    /// What is wiped on the way, and whether that includes DATA.
    pub wipe: Option<WipeData>,
    /// Whether it goes straight to [`Step::Storage`] and only syncs there.
    pub forced: bool,
    /// How long the agent may take for its pods.
    farewell_ms: u64,
    step: Option<Step>,
    until: u64,
}

/// Whether a reset that wipes STATE wipes DATA too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WipeData(pub bool);

impl Step {
    const ALL: [Step; 8] = [
        Step::Farewell,
        Step::Agent,
        Step::Services,
        Step::Pods,
        Step::KillPods,
        Step::Rest,
        Step::KillRest,
        Step::Storage,
    ];

    /// How long it may take. Services have their grace from the table and are killed by it; this is a little more than
    /// the longest. Pods get what a pod gets that says nothing, halved: all of them end at once.
    fn deadline_ms(self, farewell_ms: u64) -> u64 {
        match self {
            // The agent keeps the time; this is for one that does not.
            Step::Farewell => farewell_ms + 2_000,
            Step::Agent => 12_000,
            Step::Services => 22_000,
            Step::Pods => 15_000,
            Step::KillPods | Step::Rest | Step::KillRest => 2_000,
            Step::Storage => u64::MAX,
        }
    }

    fn is_settled(self, alive: Alive, farewell_ms: u64) -> bool {
        match self {
            Step::Farewell => farewell_ms == 0 || !alive.agent || !alive.pods,
            Step::Agent => !alive.agent,
            Step::Services => !alive.services,
            Step::Pods | Step::KillPods => !alive.pods,
            Step::Rest | Step::KillRest => !alive.anybody,
            Step::Storage => false,
        }
    }
}

impl Descent {
    /// A way down that begins with the next [`Descent::next_step`].
    pub fn new(how: Down) -> Self {
        Descent {
            how,
            wipe: None,
            forced: false,
            farewell_ms: 0,
            step: None,
            until: 0,
        }
    }

    /// A reset: down, wipe, and up again.
    pub fn reset(wipe: WipeData) -> Self {
        Descent {
            wipe: Some(wipe),
            ..Descent::new(Down::Reboot)
        }
    }

    /// The same, with so many seconds for the agent to end its pods.
    pub fn with_farewell(self, seconds: u32) -> Self {
        Descent {
            farewell_ms: u64::from(seconds) * 1000,
            ..self
        }
    }

    /// From now on without ceremony.
    pub fn force(&mut self, how: Down) {
        (self.how, self.forced) = (how, true);
    }

    /// The step to begin now, if one is; steps that have nothing to do are left out.
    pub fn next_step(&mut self, now: u64, alive: Alive) -> Option<Step> {
        let is_over = self
            .step
            .is_none_or(|step| step.is_settled(alive, self.farewell_ms) || now >= self.until);
        if self.forced && self.step != Some(Step::Storage) {
            return self.enter(Step::Storage, now);
        }
        if !is_over {
            return None;
        }
        let later = Step::ALL
            .into_iter()
            .filter(|step| self.step.is_none_or(|current| *step > current));
        let next = later
            .into_iter()
            .find(|step| !step.is_settled(alive, self.farewell_ms))?;
        self.enter(next, now)
    }

    fn enter(&mut self, step: Step, now: u64) -> Option<Step> {
        self.step = Some(step);
        self.until = now.saturating_add(step.deadline_ms(self.farewell_ms));
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Alive = Alive {
        agent: true,
        services: true,
        pods: true,
        anybody: true,
    };
    const NOBODY: Alive = Alive {
        agent: false,
        services: false,
        pods: false,
        anybody: false,
    };

    #[test]
    fn an_idle_machine_goes_straight_to_storage() {
        assert_eq!(Descent::new(Down::Reboot).next_step(0, NOBODY), Some(Step::Storage));
    }

    #[test]
    fn each_step_waits_for_its_own_and_no_longer_than_its_deadline() {
        let mut descent = Descent::new(Down::PowerOff);
        assert_eq!(descent.next_step(0, ALL), Some(Step::Agent));
        assert_eq!(descent.next_step(1, ALL), None);
        let without_agent = Alive { agent: false, ..ALL };
        assert_eq!(descent.next_step(2, without_agent), Some(Step::Services));
        assert_eq!(descent.next_step(22_001, without_agent), None);
        assert_eq!(descent.next_step(22_002, without_agent), Some(Step::Pods), "time is up");
        assert_eq!(descent.next_step(37_002, without_agent), Some(Step::KillPods));
        let rest = Alive {
            anybody: true,
            ..NOBODY
        };
        assert_eq!(descent.next_step(37_003, rest), Some(Step::Rest));
        assert_eq!(descent.next_step(39_003, rest), Some(Step::KillRest));
        assert_eq!(
            descent.next_step(41_003, rest),
            Some(Step::Storage),
            "whoever cannot be killed is left behind"
        );
        assert_eq!(descent.next_step(u64::MAX - 1, rest), None);
    }

    #[test]
    fn whoever_asked_for_a_farewell_has_it_while_pods_live() {
        let mut descent = Descent::new(Down::PowerOff).with_farewell(30);
        assert_eq!(descent.next_step(0, ALL), Some(Step::Farewell));
        assert_eq!(descent.next_step(31_999, ALL), None);
        assert_eq!(descent.next_step(32_000, ALL), Some(Step::Agent), "time is up");
        let mut descent = Descent::new(Down::PowerOff).with_farewell(30);
        descent.next_step(0, ALL);
        let without_pods = Alive { pods: false, ..ALL };
        assert_eq!(descent.next_step(1, without_pods), Some(Step::Agent));
        let mut descent = Descent::new(Down::PowerOff).with_farewell(30);
        assert_eq!(
            descent.next_step(0, without_pods),
            Some(Step::Agent),
            "there is nobody to end"
        );
    }

    #[test]
    fn force_skips_everything() {
        let mut descent = Descent::new(Down::Reboot);
        descent.next_step(0, ALL);
        descent.force(Down::Reboot);
        assert_eq!(descent.next_step(1, ALL), Some(Step::Storage));
        assert_eq!(descent.next_step(2, ALL), None);
    }
}
