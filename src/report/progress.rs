//! Progress as a bar on a terminal or as plain lines, and as events for programs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, MultiProgress, ProgressBar, ProgressStyle};

use super::events::{Emitted, Events};
use super::pace::{Pace, Reading};
use crate::event::{Event, Listener, Phase};
use crate::value::ByteSize;

/// Between two events of a phase.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// Between two lines of a phase where there is no terminal: logs are read by people too.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two texts of a bar, which nobody could read faster.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// Shows what a [`Listener`] hears.
pub struct Progress {
    medium: Option<String>,
    look: Look,
    events: Option<Arc<Events>>,
    running: Mutex<Option<Running>>,
}

/// View of a person.
pub(super) enum Look {
    Hidden,
    Lines,
    Bars(MultiProgress),
}

/// A phase that has begun.
struct Running {
    phase: Phase,
    pace: Pace,
    begun: Instant,
    bar: Option<ProgressBar>,
    emitted: Due,
    shown: Due,
}

/// Something that happens from time to time.
struct Due {
    every: Duration,
    last: Duration,
}

impl Due {
    /// Returns whether it is time again.
    fn is_now(&mut self, now: Duration) -> bool {
        let due = now.saturating_sub(self.last) >= self.every;
        self.last = if due { now } else { self.last };
        due
    }
}

impl Progress {
    pub(super) fn new(medium: Option<&str>, look: Look, events: Option<Arc<Events>>) -> Progress {
        Progress { medium: medium.map(str::to_owned), look, events, running: Mutex::new(None) }
    }

    /// Ends the last phase.
    pub fn finish(&self) {
        let Some(running) = self.lock().take() else { return };
        self.emit(Emitted::progress(running.phase, running.pace.read(running.begun.elapsed())));
        if let (Look::Bars(bars), Some(bar)) = (&self.look, running.bar) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
    }

    fn begin(&self, phase: Phase, total: Option<u64>) {
        self.finish();
        self.emit(Emitted::Phase { phase, total });
        let size = total.map(|total| format!(": {}", ByteSize(total))).unwrap_or_default();
        let (bar, every) = match &self.look {
            Look::Bars(bars) => (Some(self.bar(bars, phase, total)), BAR_EVERY),
            Look::Hidden | Look::Lines => (None, LINE_EVERY),
        };
        if bar.is_none() {
            self.say(&format!("{phase}{size}"));
        }
        let due = |every| Due { every, last: Duration::ZERO };
        let (emitted, shown) = (due(EVENT_EVERY), due(every));
        let running = Running { phase, pace: Pace::new(total), begun: Instant::now(), bar, emitted, shown };
        *self.lock() = Some(running);
    }

    /// A bar among the others. One that is drawn before it is among them stays on the terminal for ever, and setting its
    /// prefix draws it.
    fn bar(&self, bars: &MultiProgress, phase: Phase, total: Option<u64>) -> ProgressBar {
        let bar = bars.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        bar.set_style(style(match total {
            Some(_) => "{prefix:>28} [{bar:30}] {binary_bytes}/{binary_total_bytes} {msg}",
            None => "{prefix:>28} {spinner} {binary_bytes} {msg}",
        }));
        bar.set_prefix(self.about(&phase.to_string()));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    fn advance(&self, bytes: u64) {
        let mut running = self.lock();
        let Some(running) = running.as_mut() else { return };
        let now = running.begun.elapsed();
        running.pace.advance(bytes, now);
        let reading = running.pace.read(now);
        if running.emitted.is_now(now) {
            self.emit(Emitted::progress(running.phase, reading));
        }
        let shown = running.shown.is_now(now);
        match &running.bar {
            Some(bar) => {
                bar.inc(bytes);
                if shown {
                    bar.set_message(speed(&reading));
                }
            }
            None if shown => self.say(&format!("{}: {}", running.phase, so_far(&reading))),
            None => {}
        }
    }

    fn emit(&self, event: Emitted) {
        if let Some(events) = &self.events {
            events.emit(self.medium.as_deref(), &event);
        }
    }

    /// Prints a line, above the bars.
    fn say(&self, text: &str) {
        let line = self.about(text);
        let print = || super::print_line(&mut std::io::stderr().lock(), &line);
        match &self.look {
            Look::Hidden => {}
            Look::Lines => print(),
            Look::Bars(bars) => bars.suspend(print),
        }
    }

    /// With the name of the medium.
    fn about(&self, text: &str) -> String {
        self.medium.as_ref().map_or_else(|| text.into(), |medium| format!("{medium}: {text}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is right")
}

/// Current and mean rate, and how long it will take.
fn speed(reading: &Reading) -> String {
    let left = reading.left.map(|left| format!(", {left} s left")).unwrap_or_default();
    format!("{}/s (mean {}/s){left}", BinaryBytes(reading.rate), BinaryBytes(reading.mean))
}

/// Formats the progress of a phase as a line.
fn so_far(reading: &Reading) -> String {
    let of = reading.total.map(|total| format!(" of {}", BinaryBytes(total))).unwrap_or_default();
    format!("{}{of}, {}", BinaryBytes(reading.bytes), speed(reading))
}

/// A run that fails leaves no bar either.
impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Listener for Progress {
    fn event(&self, event: Event) {
        match event {
            Event::Phase { phase, total } => self.begin(phase, total),
            Event::Advance { bytes } => self.advance(bytes),
            // It is reported at the end.
            Event::Discard { .. } => {}
            Event::Stall { verb, offset, len, seconds } => {
                self.emit(Emitted::Stall { verb, offset, len, waited: seconds });
                self.say(&format!("{verb} of {} at byte {offset} takes {seconds} s", ByteSize(len)));
            }
            Event::Retry { attempt, of, extents, bytes } => {
                self.finish();
                self.emit(Emitted::Retry { attempt, of, extents, bytes });
                let size = ByteSize(bytes);
                self.say(&format!(
                    "{extents} ranges ({size}) were read back wrong; writing them again, try {attempt} of {of}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn lines_say_how_far_it_is_how_fast_and_how_long_it_will_take() {
        let known = Reading {
            bytes: 100 * MIB,
            total: Some(400 * MIB),
            rate: 5 * MIB,
            mean: 6 * MIB,
            left: Some(60),
        };
        assert_eq!(so_far(&known), "100.00 MiB of 400.00 MiB, 5.00 MiB/s (mean 6.00 MiB/s), 60 s left");
        let unknown = Reading { total: None, left: None, ..known };
        assert_eq!(so_far(&unknown), "100.00 MiB, 5.00 MiB/s (mean 6.00 MiB/s)");
    }

    #[test]
    fn something_is_due_when_its_time_has_passed() {
        let mut due = Due { every: Duration::from_secs(10), last: Duration::ZERO };
        let times = [9, 10, 11, 19, 20, 35].map(|at| due.is_now(Duration::from_secs(at)));
        assert_eq!(times, [false, true, false, false, true, true]);
    }
}
