//! A config on trial: in effect until it is confirmed, and gone, with what was before in its place, when its time is up or
//! when the machine starts once more without a word.
//!
//! On STATE it stands beside what is stored: waiting for its start, or on trial. Its deadline is in /run, which ends with the
//! boot: a config on trial without a deadline is one whose boot is over.

use crate::acquire::Running;
use crate::boottime;
use crate::events::Kind;
use crate::machine::Machine;
use crate::state::{self, StateError};
use init_protocol::{Down, Request};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Stored, and in effect with the next start.
const WAITING: &str = "trial-waiting.json";
/// In effect in this boot.
const RUNNING: &str = "trial.json";
/// In /run: until when, in milliseconds since the machine started.
const DEADLINE: &str = "trial-deadline";

/// Before a deadline is looked at again; it is minutes away.
const LOOK: Duration = Duration::from_millis(500);

/// A config to be tried. No `Debug`: it holds secrets.
#[derive(Serialize, Deserialize)]
pub struct Trial {
    /// How long, from when it is in effect.
    pub seconds: u32,
    /// The config's text.
    pub config: String,
    /// The secrets' text.
    pub secrets: String,
}

/// What a start found.
pub enum Found {
    /// No trial.
    Nothing,
    /// This is the boot of its trial.
    OnTrial(Trial),
    /// Its boot is over and nobody confirmed it; it is gone now.
    Reverted,
}

/// Stores it for the next start.
pub fn put(state: &Path, trial: &Trial) -> Result<(), StateError> {
    state::replace(state, WAITING, &text(trial))
}

/// Puts it on trial now, in this boot.
pub fn begin(state: &Path, run: &Path, trial: &Trial) -> Result<(), StateError> {
    state::replace(state, RUNNING, &text(trial))?;
    set_deadline(run, trial.seconds)
}

/// What there is at the start of the agent: a machine's, or only the agent's own.
pub fn find(state: &Path, run: &Path) -> Result<Found, StateError> {
    if let Some(waiting) = read(&state.join(WAITING)) {
        set_deadline(run, waiting.seconds)?;
        state::rename(state, WAITING, RUNNING)?;
        return Ok(Found::OnTrial(waiting));
    }
    match (read(&state.join(RUNNING)), deadline(run)) {
        (None, _) => Ok(Found::Nothing),
        (Some(trial), Some(_)) => Ok(Found::OnTrial(trial)),
        (Some(_), None) => {
            drop_it(state, run)?;
            Ok(Found::Reverted)
        }
    }
}

/// Whether one waits or is on trial.
pub fn is_there(state: &Path) -> bool {
    [WAITING, RUNNING].iter().any(|name| state.join(name).exists())
}

/// Keeps what is on trial; nothing where nothing is.
pub fn confirm(state: &Path, run: &Path) -> Result<bool, StateError> {
    let Some(trial) = read(&state.join(RUNNING)) else {
        return Ok(false);
    };
    state::store(state, &trial.config, &trial.secrets)?;
    drop_it(state, run)?;
    Ok(true)
}

/// Waits for its time to be up; then `before` is in effect again, or, without, the machine starts with what is stored.
pub fn watch(machine: &Arc<Machine>, before: Option<Arc<Running>>) {
    let machine = Arc::clone(machine);
    let (state, run) = (machine.places.state.clone(), machine.places.run.clone());
    let Some(until) = deadline(&run) else { return };
    tokio::spawn(async move {
        // Another deadline is another trial's: this one was confirmed.
        while deadline(&run) == Some(until) {
            if boottime::now() >= until {
                return revert(&machine, &state, &run, before).await;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
}

async fn revert(machine: &Arc<Machine>, state: &Path, run: &Path, before: Option<Arc<Running>>) {
    let name = machine.running().map(|running| running.config.machine.name.clone());
    let name = name.unwrap_or_default();
    let note = |said: &str| machine.events.note(Kind::Config, &name, said);
    if let Err(error) = drop_it(state, run) {
        note(&format!("the config on trial was not confirmed, but stays: {error}"));
        return;
    }
    match before {
        Some(before) => {
            note("the config on trial was not confirmed; the one before is in effect again");
            machine.run_with(before);
        }
        None => {
            note("the config on trial was not confirmed; the machine starts again with the one before");
            if let Err(error) = machine.init.ask(Request::Down(Down::Reboot)).await {
                note(&format!("the machine does not start again: {error}"));
            }
        }
    }
}

fn text(trial: &Trial) -> String {
    serde_json::to_string(trial).expect("a trial is JSON because it holds only texts and a number")
}

/// A torn one counts as none: it was never acknowledged.
fn read(path: &Path) -> Option<Trial> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn set_deadline(run: &Path, seconds: u32) -> Result<(), StateError> {
    let until = boottime::now() + Duration::from_secs(seconds.into());
    state::replace(run, DEADLINE, &until.as_millis().to_string())
}

fn deadline(run: &Path) -> Option<Duration> {
    let text = fs::read_to_string(run.join(DEADLINE)).ok()?;
    text.parse().ok().map(Duration::from_millis)
}

/// Ends it, whatever it is. The deadline goes last: while it is there, somebody watches.
pub fn drop_it(state: &Path, run: &Path) -> Result<(), StateError> {
    let files: [PathBuf; 3] = [state.join(WAITING), state.join(RUNNING), run.join(DEADLINE)];
    files.iter().try_for_each(|path| state::remove(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        Trial {
            seconds: 100,
            config: "c2".to_owned(),
            secrets: "s2".to_owned(),
        }
    }

    #[test]
    fn a_trial_lasts_one_boot_and_survives_the_agents_restarts() {
        let root = tempfile::tempdir().unwrap();
        let (state, run) = (root.path().join("state"), root.path().join("run"));
        for folder in [&state, &run] {
            fs::create_dir(folder).unwrap();
        }
        state::store(&state, "c1", "s1").unwrap();
        assert!(matches!(find(&state, &run).unwrap(), Found::Nothing));
        put(&state, &trial()).unwrap();
        assert!(is_there(&state));
        // The boot of the trial; then the agent alone starts again.
        for _ in 0..2 {
            assert!(matches!(find(&state, &run).unwrap(), Found::OnTrial(trial) if trial.config == "c2"));
        }
        // The next boot: /run is empty.
        fs::remove_file(run.join(DEADLINE)).unwrap();
        assert!(matches!(find(&state, &run).unwrap(), Found::Reverted));
        assert!(matches!(find(&state, &run).unwrap(), Found::Nothing));
        assert_eq!(state::load(&state).unwrap().unwrap().config, "c1");

        begin(&state, &run, &trial()).unwrap();
        assert!(confirm(&state, &run).unwrap() && !confirm(&state, &run).unwrap());
        assert_eq!(state::load(&state).unwrap().unwrap().config, "c2");
        assert!(!is_there(&state) && deadline(&run).is_none());
    }
}
