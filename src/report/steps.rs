//! Steps of a build as one line on a terminal, or as a line for each package, and as events for programs.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::events::{Emitted, Events};
use super::progress::Look;
use crate::buildroot::drive::{Listener, Message, Step, plain};
use crate::value::Span;

/// Shows what a listener of a build hears.
pub struct Steps {
    look: Look,
    /// True if all that is printed is shown.
    verbose: bool,
    events: Option<Arc<Events>>,
    shown: Mutex<Shown>,
}

/// State of what is shown.
#[derive(Default)]
struct Shown {
    bar: Option<ProgressBar>,
    /// Packages that had their line.
    printed: BTreeSet<String>,
}

/// Time when the shown step began, and the time left from there.
#[derive(Clone, Copy)]
struct Clock {
    begun: Instant,
    left: Option<Duration>,
}

impl Steps {
    pub(super) fn new(look: Look, verbose: bool, events: Option<Arc<Events>>) -> Steps {
        Steps { look, verbose, events, shown: Mutex::default() }
    }

    /// Clears the line on the terminal.
    pub fn finish(&self) {
        if let (Look::Bars(bars), Some(bar)) = (&self.look, self.lock().bar.take()) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
    }

    /// The line on the terminal: package and step, how long the step takes, how many packages are done, and how long
    /// the others will take.
    fn draw(&self, step: &Step<'_>) {
        let Look::Bars(bars) = &self.look else { return };
        let mut shown = self.lock();
        let bar = shown.bar.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        bar.set_style(style(Clock { begun: Instant::now(), left: left(step) }));
        bar.set_prefix(count(step));
        bar.set_message(step.message.to_string());
    }

    fn say(&self, line: &str) {
        let print = || super::print_line(&mut std::io::stderr().lock(), line);
        match &self.look {
            Look::Hidden => {}
            Look::Lines => print(),
            Look::Bars(bars) => bars.suspend(print),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Steps {
    fn step(&self, step: &Step<'_>) {
        if let Some(events) = &self.events {
            events.emit(None, &emitted(step));
        }
        self.draw(step);
        let is_line = matches!(self.look, Look::Lines) && !self.verbose;
        let named = named(step.message);
        if is_line && self.lock().printed.insert(named.clone()) {
            let left = left(step).map(|left| format!(", about {} left", Span(left))).unwrap_or_default();
            self.say(format!("{} {named}{left}", count(step)).trim_start());
        }
    }

    fn line(&self, line: &str) {
        if self.verbose {
            self.say(&plain(line));
        }
    }
}

/// Returns the time left, where it is worth saying.
fn left(step: &Step<'_>) -> Option<Duration> {
    step.left.filter(|left| *left >= Duration::from_secs(1))
}

fn emitted(step: &Step<'_>) -> Emitted {
    let Message { package, version, text } = step.message.clone();
    Emitted::Step {
        package,
        version,
        step: text,
        done: step.done,
        total: Some(step.total).filter(|total| *total > 0),
        left: step.left.map(|left| left.as_secs()),
    }
}

/// `[3/17]`, or nothing where nobody knows how many there are.
fn count(step: &Step<'_>) -> String {
    if step.total == 0 { String::new() } else { format!("[{}/{}]", step.done, step.total) }
}

/// The package, or what is done where there is none.
fn named(message: &Message) -> String {
    let Message { package, version, text } = message;
    if package.is_empty() { text.clone() } else { format!("{package} {version}").trim_end().into() }
}

fn style(clock: Clock) -> ProgressStyle {
    let time = move |_: &ProgressState, out: &mut dyn Write| _ = write!(out, "{}", Running(clock));
    let template = "{spinner} {prefix} {wide_msg} {running} (all: {elapsed})";
    ProgressStyle::with_template(template).expect("the template is right").with_key("running", time)
}

/// Time that a step has taken, and that the rest will take.
struct Running(Clock);

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.0.begun.elapsed();
        write!(f, "{}", Span(elapsed))?;
        // Behind its time there is nothing to say.
        match self.0.left.and_then(|left| left.checked_sub(elapsed)) {
            Some(left) => write!(f, ", about {} left", Span(left)),
            None => Ok(()),
        }
    }
}
