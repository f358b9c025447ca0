//! A service's life as a pure machine: what was asked, what happened and the clock go in, what is to be done comes out.

use super::table::Row;
use init_protocol::{Phase, ServiceState};

/// First delay before a service that ended by itself starts again; doubles with each end.
const FIRST_DELAY_MS: u64 = 100;
/// The delay stops growing here: a service must be back soon after what held it down is mended.
const LONGEST_DELAY_MS: u64 = 10_000;
/// Who ran this long was well: the delay starts over.
const WELL_MS: u64 = 30_000;

/// What is to be done for a service now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it, then tell [`Life::started`] or [`Life::ended`].
    Spawn,
    /// SIGTERM to this process.
    Terminate(i32),
    /// SIGKILL to all of its cgroup.
    Kill(i32),
}

/// One service's life. All times are milliseconds of one clock.
#[derive(Debug)]
pub struct Life {
    pub row: &'static Row,
    phase: Phase,
    pid: Option<i32>,
    since: u64,
    starts: u32,
    last_end: String,
    /// Ends in a row that came too soon.
    failures: u32,
    /// In back-off: when it starts. Stopping: when it is killed.
    due_at: u64,
    /// Stopping only: whether it starts again afterwards.
    again: bool,
}

impl Life {
    /// A service that nobody asked for yet.
    pub fn new(row: &'static Row) -> Self {
        let (phase, last_end) = (Phase::Down, String::new());
        Life {
            row,
            phase,
            pid: None,
            since: 0,
            starts: 0,
            last_end,
            failures: 0,
            due_at: 0,
            again: false,
        }
    }

    /// It is wanted: at once, whatever it waited for.
    pub fn start(&mut self, now: u64) {
        match self.phase {
            Phase::Up => {}
            Phase::Stopping => self.again = true,
            Phase::Down | Phase::BackOff => self.wait_until(now, now),
        }
    }

    /// It is not wanted any more.
    pub fn stop(&mut self, now: u64) -> Option<Action> {
        self.again = false;
        self.end_it(now)
    }

    /// It ends and starts again.
    pub fn restart(&mut self, now: u64) -> Option<Action> {
        let action = self.end_it(now);
        self.start(now);
        action
    }

    /// It runs.
    pub fn started(&mut self, now: u64, pid: i32) {
        self.starts += 1;
        self.enter(Phase::Up, now);
        self.pid = Some(pid);
    }

    /// It ended, or could not be started; `how` is for people.
    pub fn ended(&mut self, now: u64, how: String) {
        let ran_well = self.phase == Phase::Up && now.saturating_sub(self.since) >= WELL_MS;
        self.pid = None;
        self.last_end = how;
        match self.phase {
            Phase::Stopping if self.again => self.wait_until(now, now),
            Phase::Stopping | Phase::Down => self.enter(Phase::Down, now),
            Phase::Up | Phase::BackOff => {
                self.failures = if ran_well { 1 } else { self.failures.saturating_add(1) };
                self.wait_until(now, now + delay(self.failures));
            }
        }
    }

    /// What the clock asks for.
    pub fn due(&mut self, now: u64) -> Option<Action> {
        match (self.phase, self.pid) {
            (Phase::BackOff, None) if now >= self.due_at => Some(Action::Spawn),
            (Phase::Stopping, Some(pid)) if now >= self.due_at => {
                // Once a second, should the kernel need that long to let go of it.
                self.due_at = now + 1000;
                Some(Action::Kill(pid))
            }
            _waits => None,
        }
    }

    /// When [`Life::due`] has to be asked next.
    pub fn next_due(&self) -> Option<u64> {
        matches!(self.phase, Phase::BackOff | Phase::Stopping).then_some(self.due_at)
    }

    /// Whether it has a process.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// For those who ask.
    pub fn state(&self) -> ServiceState {
        ServiceState {
            service: self.row.service,
            phase: self.phase,
            pid: self.pid,
            restarts: self.starts.saturating_sub(1),
            last_end: self.last_end.clone(),
            since_ms: self.since,
        }
    }

    /// How long until it starts again, where it waits for that.
    pub fn delay_left(&self, now: u64) -> Option<u64> {
        (self.phase == Phase::BackOff).then(|| self.due_at.saturating_sub(now))
    }

    fn end_it(&mut self, now: u64) -> Option<Action> {
        self.failures = 0;
        match (self.phase, self.pid) {
            (Phase::Up, Some(pid)) => {
                self.enter(Phase::Stopping, now);
                self.due_at = now + self.row.grace.as_millis() as u64;
                Some(Action::Terminate(pid))
            }
            (Phase::Stopping, _) => None,
            (Phase::Up | Phase::BackOff | Phase::Down, _) => {
                self.enter(Phase::Down, now);
                None
            }
        }
    }

    fn wait_until(&mut self, now: u64, due_at: u64) {
        self.enter(Phase::BackOff, now);
        self.due_at = due_at;
    }

    fn enter(&mut self, phase: Phase, now: u64) {
        self.phase = phase;
        self.since = now;
        self.again = false;
    }
}

fn delay(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_DELAY_MS << doublings).min(LONGEST_DELAY_MS)
}

#[cfg(test)]
mod tests {
    use super::super::table::TABLE;
    use super::*;

    fn up(now: u64) -> Life {
        let mut life = Life::new(&TABLE[1]);
        life.start(now);
        assert_eq!(life.due(now), Some(Action::Spawn));
        life.started(now, 7);
        life
    }

    #[test]
    fn the_delay_doubles_up_to_ten_seconds() {
        let delays: Vec<u64> = (1..=9).map(delay).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(delay(u32::MAX), 10_000);
    }

    #[test]
    fn a_service_that_ends_comes_back_after_its_delay() {
        let mut life = up(1000);
        life.ended(1500, "exit 1".into());
        assert_eq!(life.state().phase, Phase::BackOff);
        assert_eq!(life.due(1599), None);
        assert_eq!(life.due(1600), Some(Action::Spawn));
        life.ended(1600, "cannot start".into());
        assert_eq!(life.next_due(), Some(1800));
        life.started(1800, 8);
        assert_eq!(life.state().restarts, 1);
        life.ended(1800 + WELL_MS, "exit 0".into());
        assert_eq!(
            life.delay_left(1800 + WELL_MS),
            Some(100),
            "it ran well, so the delay starts over"
        );
    }

    #[test]
    fn a_start_ends_the_wait() {
        let mut life = up(0);
        life.ended(10, "signal 9".into());
        life.start(20);
        assert_eq!(life.due(20), Some(Action::Spawn));
    }

    #[test]
    fn a_stop_terminates_then_kills_and_stays_down() {
        let mut life = up(0);
        let grace = life.row.grace.as_millis() as u64;
        assert_eq!(life.stop(100), Some(Action::Terminate(7)));
        assert_eq!(life.stop(101), None, "asked twice, told once");
        assert_eq!(life.due(100 + grace - 1), None);
        assert_eq!(life.due(100 + grace), Some(Action::Kill(7)));
        assert_eq!(life.due(100 + grace), None);
        life.ended(100 + grace + 5, "signal 9".into());
        assert_eq!((life.state().phase, life.next_due()), (Phase::Down, None));
    }

    #[test]
    fn a_restart_starts_at_once_after_the_end() {
        let mut life = up(0);
        assert_eq!(life.restart(100), Some(Action::Terminate(7)));
        assert_eq!(life.due(100), None);
        life.ended(150, "exit 0".into());
        assert_eq!(life.due(150), Some(Action::Spawn));
        let mut down = Life::new(&TABLE[1]);
        assert_eq!(down.restart(5), None);
        assert_eq!(down.due(5), Some(Action::Spawn));
    }

    #[test]
    fn a_stop_during_a_restart_wins() {
        let mut life = up(0);
        life.restart(100);
        life.stop(110);
        life.ended(150, "exit 0".into());
        assert_eq!(life.state().phase, Phase::Down);
    }
}
