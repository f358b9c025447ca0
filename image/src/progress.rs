//! What a person sees while it builds: a bar a step, with time and size; plain lines where there is no terminal.

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Shows steps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress {
    bars: bool,
}

/// One step under way.
#[derive(Debug)]
pub struct Step {
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

// === impl Progress ===

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Bars on a terminal, lines elsewhere.
    pub fn new() -> Self {
        Progress {
            bars: std::io::stderr().is_terminal(),
        }
    }

    /// Begins a step whose length is not known.
    pub fn step(&self, name: &str) -> Step {
        self.begin(
            name,
            ProgressBar::new_spinner(),
            "{spinner} {prefix:28} {elapsed:>6}  {wide_msg}",
        )
    }

    /// Begins a step of `total` parts.
    pub fn counted(&self, name: &str, total: u64) -> Step {
        self.begin(
            name,
            ProgressBar::new(total),
            "{spinner} {prefix:28} {elapsed:>6}  {bar:24} {pos}/{len} {wide_msg}",
        )
    }

    fn begin(&self, name: &str, bar: ProgressBar, template: &str) -> Step {
        let bar = self.bars.then(|| {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("… {name}");
        }
        Step {
            name: name.to_owned(),
            started: Instant::now(),
            bar,
        }
    }
}

// === impl Step ===

impl Step {
    /// Says what is going on within the step.
    pub fn say(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Moves a counted step to `position`.
    pub fn at(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// Ends the step; `bytes` is the size of what it made, where that says something.
    pub fn done(self, bytes: Option<u64>) {
        let size = bytes
            .map(|bytes| format!("  {}", HumanBytes(bytes)))
            .unwrap_or_default();
        let time = self.started.elapsed();
        let time = if time < Duration::from_secs(60) {
            format!("{:.1} s", time.as_secs_f64())
        } else {
            HumanDuration(time).to_string()
        };
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("✓ {:28} {time}{size}", self.name);
    }
}
