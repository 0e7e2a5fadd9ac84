//! Speed of a phase and its expected end. Times are inputs, as the time since the phase began.

use std::collections::VecDeque;
use std::time::Duration;

/// Window of the current rate: media pause for seconds, and one pause is not the end of the world.
const WINDOW: Duration = Duration::from_secs(10);
/// Time between two samples.
const STEP: Duration = Duration::from_millis(250);

/// The course of one phase.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    total: Option<u64>,
    done: u64,
    samples: VecDeque<(Duration, u64)>,
}

/// Progress of a phase. Rates are bytes in a second, times are seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Bytes that are done.
    pub(super) bytes: u64,
    /// Bytes there are, if that is known.
    pub(super) total: Option<u64>,
    /// Of the last ten seconds.
    pub(super) rate: u64,
    /// Since the phase began.
    pub(super) mean: u64,
    /// Time for the rest at the current rate; none if that is not known, or never.
    pub(super) left: Option<u64>,
}

impl Pace {
    pub(super) fn new(total: Option<u64>) -> Pace {
        Pace { total, done: 0, samples: VecDeque::from([(Duration::ZERO, 0)]) }
    }

    /// More bytes are done at `now`.
    pub(super) fn advance(&mut self, bytes: u64, now: Duration) {
        self.done += bytes;
        if self.samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= STEP) {
            self.samples.push_back((now, self.done));
        }
        // One sample before the window stays, so that there is always something to compare with.
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Returns the progress at `now`.
    pub(super) fn read(&self, now: Duration) -> Reading {
        let (since, before) = self.samples.front().copied().unwrap_or_default();
        let rate = per_second(self.done - before, now.saturating_sub(since));
        let rest = self.total.map(|total| total.saturating_sub(self.done));
        let left = rest.and_then(|rest| if rest == 0 { Some(0) } else { rest.checked_div(rate) });
        Reading { bytes: self.done, total: self.total, rate, mean: per_second(self.done, now), left }
    }
}

/// A rate; 0 where no time has passed.
fn per_second(bytes: u64, time: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000 / time.as_micros().max(1);
    if time.is_zero() { 0 } else { u64::try_from(rate).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_current_rate_is_that_of_the_last_ten_seconds() {
        let mut pace = Pace::new(Some(1000 * MIB));
        (1..=20).for_each(|at| pace.advance(20 * MIB, seconds(at)));
        (21..=40).for_each(|at| pace.advance(5 * MIB, seconds(at)));
        let expected = Reading {
            bytes: 500 * MIB,
            total: Some(1000 * MIB),
            rate: 5 * MIB,
            mean: 500 * MIB / 40,
            left: Some(100),
        };
        assert_eq!(pace.read(seconds(40)), expected);
        // A medium that pauses becomes slower while it does.
        assert_eq!(pace.read(seconds(50)).rate, 50 * MIB / 20);
    }

    #[test]
    fn what_is_not_known_is_not_reported() {
        let mut pace = Pace::new(None);
        let nothing = Reading { bytes: 0, total: None, rate: 0, mean: 0, left: None };
        assert_eq!((pace.read(Duration::ZERO), pace.read(seconds(9))), (nothing, nothing));
        pace.advance(MIB, Duration::ZERO);
        assert_eq!(pace.read(Duration::ZERO).rate, 0);
        assert_eq!(pace.read(seconds(1)).left, None);
        let mut known = Pace::new(Some(2 * MIB));
        assert_eq!(known.read(seconds(5)).left, None, "it does not move");
        known.advance(2 * MIB, seconds(5));
        assert_eq!(known.read(seconds(5)).left, Some(0));
    }
}
