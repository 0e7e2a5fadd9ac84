//! Durations of steps: `build/build-time.log`, to which Buildroot appends `SECONDS.NANOSECONDS:start:STEP: PACKAGE`
//! and the same with `end` (`package/pkg-generic.mk`); words are padded with spaces.

use std::collections::BTreeMap;
use std::time::Duration;

/// The time of each package, of the last time that each of its steps was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    packages: BTreeMap<String, BTreeMap<String, Duration>>,
}

impl Times {
    /// Reads a log, or a part of it. A step that did not end counts nothing, and so does a line that is none.
    pub fn read(text: &str) -> Times {
        let mut times = Times::default();
        let mut open = BTreeMap::new();
        for (at, begins, step, package) in text.lines().filter_map(line) {
            if begins {
                open.insert((step, package), at);
            } else if let Some(begun) = open.remove(&(step, package)) {
                let steps = times.packages.entry(package.to_owned()).or_default();
                steps.insert(step.to_owned(), at.saturating_sub(begun));
            }
        }
        times
    }

    /// Adds what is only known from another log.
    pub fn add_unknown(&mut self, other: Times) {
        for (package, steps) in other.packages {
            self.packages.entry(package).or_insert(steps);
        }
    }

    /// Total time of a package.
    pub fn total(&self, package: &str) -> Option<Duration> {
        self.packages.get(package).map(|steps| steps.values().sum())
    }

    /// Mean time of a package.
    pub fn mean(&self) -> Option<Duration> {
        let count = u32::try_from(self.packages.len()).ok().filter(|count| *count > 0)?;
        Some(self.packages.values().flat_map(BTreeMap::values).sum::<Duration>() / count)
    }

    /// Packages with their times, the slowest first.
    pub fn slowest(&self) -> Vec<(String, Duration)> {
        let mut found: Vec<_> =
            self.packages.iter().map(|(name, steps)| (name.clone(), steps.values().sum())).collect();
        found.sort_by_key(|(_, time): &(String, Duration)| std::cmp::Reverse(*time));
        found
    }
}

/// Time since 1970, whether a step begins, the step, the package.
fn line(line: &str) -> Option<(Duration, bool, &str, &str)> {
    let mut words = line.splitn(4, ':').map(str::trim);
    let (seconds, nanoseconds) = words.next()?.split_once('.')?;
    let at = Duration::new(seconds.parse().ok()?, nanoseconds.parse().ok().filter(|n| *n < 1_000_000_000)?);
    let begins = match words.next()? {
        "start" => true,
        "end" => false,
        _ => return None,
    };
    Some((at, begins, words.next()?, words.next().filter(|package| !package.is_empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_summed_and_the_last_time_counts() {
        let log = "1700000000.500000000:start:build               : linux\n\
                   1700000001.000000000:start:extract             : hello\n\
                   1700000002.000000000:end  :extract             : hello\n\
                   1700000010.500000000:end  :build               : linux\n\
                   1700000011.000000000:start:build               : hello\n\
                   1700000012.250000000:end  :build               : hello\n\
                   not a line\n1.2:start:build:\n1.99999999999:start:a: b\n\
                   1700000020.000000000:start:build               : hello\n\
                   1700000022.000000000:end  :build               : hello\n\
                   1700000030.000000000:start:build               : broken\n";
        let mut times = Times::read(log);
        let seconds = Duration::from_secs;
        assert_eq!((times.total("linux"), times.total("hello")), (Some(seconds(10)), Some(seconds(3))));
        assert_eq!((times.total("broken"), times.mean()), (None, Some(Duration::from_millis(6500))));
        assert_eq!(times.slowest(), [("linux".into(), seconds(10)), ("hello".into(), seconds(3))]);
        times.add_unknown(Times::read(
            "1.0:start:build: linux\n2.0:end:build: linux\n1.0:start:a: x\n3.0:end:a: x\n",
        ));
        assert_eq!((times.total("linux"), times.total("x")), (Some(seconds(10)), Some(seconds(2))));
        assert_eq!(Times::read("").mean(), None);
        let backwards = Times::read("9.0:start:build: linux\n2.0:end:build: linux\n");
        assert_eq!(backwards.total("linux"), Some(Duration::ZERO), "the clock was set");
    }
}
