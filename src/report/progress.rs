//! Progress as a bar on a terminal or as one line for each phase.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::flash::{Event, Listener, Phase};

/// Shows what a [`Listener`] hears.
pub struct Progress {
    shown: bool,
    terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    pub(super) fn new(shown: bool, terminal: bool) -> Progress {
        Progress { shown, terminal, bar: Mutex::new(None) }
    }

    /// Ends the last phase.
    pub fn finish(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    fn begin(&self, phase: Phase, total: Option<u64>) {
        self.finish();
        if !self.terminal {
            let size = total.map(|total| format!(": {}", crate::value::ByteSize(total))).unwrap_or_default();
            super::print_line(&mut std::io::stderr().lock(), &format!("{phase}{size}"));
            return;
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total)
                .with_style(style("{msg:>28} [{bar:40}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")),
            None => ProgressBar::new_spinner().with_style(style("{msg:>28} {spinner} {bytes}")),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_message(phase.to_string());
        bar.enable_steady_tick(Duration::from_millis(100));
        *self.lock() = Some(bar);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is right")
}

impl Listener for Progress {
    fn event(&self, event: Event) {
        match event {
            _ if !self.shown => {}
            Event::Phase { phase, total } => self.begin(phase, total),
            Event::Advance { bytes } => {
                if let Some(bar) = self.lock().as_ref() {
                    bar.inc(bytes);
                }
            }
        }
    }
}
