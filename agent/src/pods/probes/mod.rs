//! Probes: when each is due, what its answers add up to (pure), and asking them (`ask`).
//!
//! Rules: upstream's pkg/kubelet/prober/worker.go. There is no task and no thread for each probe: the pod's worker wakes when
//! one is due, like for everything else, and a question that is on its way is one task until it is answered or given up.

mod ask;
mod dial;
mod grpc;
pub mod http;
pub mod tally;

pub use ask::{RunError, ask, run};

use super::observed::{Container, Run};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as Spec, Probe as ProbeSpec};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Whether the container has come up; until then nothing else is asked.
    Startup,
    /// Whether it is to be started again.
    Liveness,
    /// Whether it is to get traffic.
    Readiness,
}

/// All kinds, in the order in which they matter.
pub const KINDS: [Kind; 3] = [Kind::Startup, Kind::Liveness, Kind::Readiness];

/// What was answered once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is well.
    Success,
    /// It is well, with something that a person should know.
    Warning(String),
    /// It is not, with what it said.
    Failure(String),
    /// It could not be asked, e.g. because its port has no number; counts for nothing.
    Error(String),
}

/// What the answers so far add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough of them.
    #[default]
    Unknown,
    /// It is well.
    Success,
    /// It is not.
    Failure,
}

/// One probe of one run of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// When it is asked next; nothing before it was asked once.
    pub next: Option<Timestamp>,
    /// Whether the answer is awaited.
    pub is_asked: bool,
    /// What the answers add up to.
    pub verdict: Verdict,
    /// The last answer, and how many like it came in a row.
    last: Option<bool>,
    streak: i32,
}

/// The probes of one run of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// See [`Kind::Startup`].
    pub startup: Probe,
    /// See [`Kind::Liveness`].
    pub liveness: Probe,
    /// See [`Kind::Readiness`].
    pub readiness: Probe,
}

// === impl Kind ===

impl Kind {
    /// Upstream's word, as events begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The container's probe of this kind.
    pub fn of(self, spec: &Spec) -> Option<&ProbeSpec> {
        match self {
            Self::Startup => spec.startup_probe.as_ref(),
            Self::Liveness => spec.liveness_probe.as_ref(),
            Self::Readiness => spec.readiness_probe.as_ref(),
        }
    }
}

// === impl Probes ===

impl Probes {
    /// Nothing asked yet.
    pub const NONE: Self = Self {
        startup: Probe::NONE,
        liveness: Probe::NONE,
        readiness: Probe::NONE,
    };

    /// The one of that kind.
    pub fn of(&self, kind: Kind) -> &Probe {
        match kind {
            Kind::Startup => &self.startup,
            Kind::Liveness => &self.liveness,
            Kind::Readiness => &self.readiness,
        }
    }

    /// The one of that kind, to be changed.
    pub fn of_mut(&mut self, kind: Kind) -> &mut Probe {
        match kind {
            Kind::Startup => &mut self.startup,
            Kind::Liveness => &mut self.liveness,
            Kind::Readiness => &mut self.readiness,
        }
    }

    /// Of a run that outlived an agent: what the API was told holds until other answers come, and the first questions of a
    /// restarted agent are spread over one period by `spread`, a number that differs from container to container.
    pub fn adopted(spec: &Spec, is_started: bool, is_ready: bool, spread: u64, now: Timestamp) -> Self {
        let verdict = |holds| if holds { Verdict::Success } else { Verdict::Unknown };
        let mut probes = Self::NONE;
        probes.startup.verdict = verdict(is_started);
        probes.readiness.verdict = verdict(is_ready);
        for kind in KINDS {
            if let Some(probe) = kind.of(spec) {
                let period = period(probe).as_millis().max(1);
                let wait = i64::try_from(u128::from(spread) % period.unsigned_abs()).unwrap_or(0);
                probes.of_mut(kind).next = Some(now + SignedDuration::from_millis(wait));
            }
        }
        probes
    }
}

// === impl Probe ===

impl Probe {
    const NONE: Self = Self {
        next: None,
        is_asked: false,
        verdict: Verdict::Unknown,
        last: None,
        streak: 0,
    };

    /// It is asked now; the next time is a whole number of periods after this one, and never in the past.
    pub fn asked(&mut self, spec: &ProbeSpec, due: Timestamp, now: Timestamp) {
        let period = period(spec);
        let next = due + period;
        self.next = Some(if next < now { now + period } else { next });
        self.is_asked = true;
    }

    /// Counts an answer; whether the verdict has changed by it.
    pub fn take(&mut self, spec: &ProbeSpec, answer: &Answer) -> bool {
        self.is_asked = false;
        let is_well = match answer {
            Answer::Success | Answer::Warning(_) => true,
            Answer::Failure(_) => false,
            Answer::Error(_) => return false,
        };
        if self.last == Some(is_well) {
            self.streak = self.streak.saturating_add(1);
        } else {
            (self.last, self.streak) = (Some(is_well), 1);
        }
        let enough = match is_well {
            true => spec.success_threshold.unwrap_or(1),
            false => spec.failure_threshold.unwrap_or(3),
        };
        if self.streak < enough {
            return false;
        }
        let verdict = if is_well { Verdict::Success } else { Verdict::Failure };
        std::mem::replace(&mut self.verdict, verdict) != verdict
    }
}

/// Whether the container counts as started: it runs, its postStart hook is done, and its startup probe, if any, has succeeded.
pub fn is_started(spec: &Spec, container: &Container) -> bool {
    container.runs()
        && container.post_start.is_over()
        && (spec.startup_probe.is_none() || container.probes.startup.verdict == Verdict::Success)
}

/// Whether the container gets traffic: it is started and its readiness probe, if any, has succeeded.
pub fn is_ready(spec: &Spec, container: &Container) -> bool {
    is_started(spec, container)
        && (spec.readiness_probe.is_none() || container.probes.readiness.verdict == Verdict::Success)
}

/// The probe for which a container has to go, if there is one.
pub fn failed(spec: &Spec, container: &Container) -> Option<Kind> {
    let has_failed = |kind: &Kind| kind.of(spec).is_some() && container.probes.of(*kind).verdict == Verdict::Failure;
    [Kind::Startup, Kind::Liveness].into_iter().find(has_failed)
}

/// When a probe is due: nothing while there is no reason to ask it. `ends`: the pod is on its way out.
pub fn due(spec: &Spec, container: &Container, kind: Kind, ends: bool) -> Option<Timestamp> {
    let probe = kind.of(spec)?;
    let Run::Running { since, .. } = container.run else {
        return None;
    };
    let state = container.probes.of(kind);
    let started = is_started(spec, container);
    let is_wanted = match kind {
        Kind::Startup => !started && state.verdict == Verdict::Unknown,
        Kind::Liveness => started && state.verdict != Verdict::Failure,
        Kind::Readiness => started,
    };
    let stops = (ends || container.stopping.is_some()) && kind != Kind::Readiness;
    if !is_wanted || stops || state.is_asked || !container.post_start.is_over() {
        return None;
    }
    let first = since + SignedDuration::from_secs(probe.initial_delay_seconds.unwrap_or(0).max(0).into());
    Some(state.next.map_or(first, |next| next.max(first)))
}

/// How long to wait for an answer.
pub fn timeout(probe: &ProbeSpec) -> std::time::Duration {
    let seconds = probe.timeout_seconds.unwrap_or(1).max(1);
    std::time::Duration::from_secs(seconds.unsigned_abs().into())
}

fn period(probe: &ProbeSpec) -> SignedDuration {
    SignedDuration::from_secs(probe.period_seconds.unwrap_or(10).max(1).into())
}

#[cfg(test)]
mod tests;
