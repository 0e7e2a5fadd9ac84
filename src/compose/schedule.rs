//! Runs the steps of a plan at the same time where they do not need all threads themselves.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs each of `jobs` on at most `threads` threads and returns the results in order. A job that is wide works on all threads by itself, so that of these only one runs at a time; the others meanwhile
/// share what is left.
///
/// # Errors
/// That of the first job that fails, in the order of the jobs, whichever fails first in time: what comes after a
/// failed job is not begun, what comes before is.
pub(super) fn run_all<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    threads: usize,
    is_wide: impl Fn(&J) -> bool,
    run: impl Fn(&J) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    if threads <= 1 || jobs.len() <= 1 {
        return jobs.iter().map(run).collect();
    }
    let (wide, run): (Vec<bool>, _) = (jobs.iter().map(is_wide).collect(), |index: usize| run(&jobs[index]));
    let jobs =
        Jobs { wide: &wide, state: Mutex::new(State { begun: vec![false; wide.len()], end: wide.len() }) };
    let mut results: Vec<(usize, Result<T, E>)> = std::thread::scope(|scope| {
        let (jobs, run) = (&jobs, &run);
        let worker = |number| scope.spawn(move || jobs.work(number == 0, run));
        let workers: Vec<_> = (0..threads.min(wide.len())).map(worker).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

struct Jobs<'a> {
    wide: &'a [bool],
    state: Mutex<State>,
}

struct State {
    begun: Vec<bool>,
    /// No job from here on is begun any more.
    end: usize,
}

impl Jobs<'_> {
    /// Runs jobs until none is left for this worker.
    fn work<T, E>(
        &self,
        takes_wide: bool,
        run: &impl Fn(usize) -> Result<T, E>,
    ) -> Vec<(usize, Result<T, E>)> {
        let mut results = Vec::new();
        while let Some(index) = self.take(takes_wide) {
            let result = run(index);
            if result.is_err() {
                let mut state = self.state();
                state.end = state.end.min(index);
            }
            results.push((index, result));
        }
        results
    }

    /// The next job: wide ones first, because they are the longest, and for one worker only.
    fn take(&self, takes_wide: bool) -> Option<usize> {
        let mut state = self.state();
        let free = |wide: bool| {
            let mut begun = state.begun[..state.end].iter().zip(self.wide);
            begun.position(|(begun, is_wide)| !begun && *is_wide == wide)
        };
        let index = if takes_wide { free(true).or_else(|| free(false)) } else { free(false) }?;
        state.begun[index] = true;
        Some(index)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, atomic::AtomicBool};

    use super::*;

    #[test]
    fn results_come_in_order_and_wide_jobs_one_at_a_time() {
        let wide = [false, true, false, true, false, true];
        for threads in 1..5 {
            let running = AtomicUsize::new(0);
            let results = run_all(
                &[0, 1, 2, 3, 4, 5],
                threads,
                |index| wide[*index],
                |index: &usize| {
                    if wide[*index] {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two wide jobs at once");
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                    Ok::<usize, ()>(10 * index)
                },
            );
            assert_eq!(results, Ok(vec![0, 10, 20, 30, 40, 50]), "{threads}");
        }
    }

    #[test]
    fn two_jobs_run_at_the_same_time() {
        let barrier = Barrier::new(2);
        let results = run_all(
            &[0, 1],
            2,
            |index| *index == 0,
            |index: &usize| {
                barrier.wait();
                Ok::<usize, ()>(*index)
            },
        );
        assert_eq!(results, Ok(vec![0, 1]));
    }

    #[test]
    fn the_first_error_in_order_is_told_whichever_fails_first() {
        // The wide job fails before the narrow ones are begun, and all fail.
        for threads in 1..5 {
            let failed = AtomicBool::new(false);
            let result = run_all(
                &[0, 1, 2, 3],
                threads,
                |index| *index == 2,
                |index: &usize| {
                    let index = *index;
                    if index == 2 {
                        failed.store(true, Ordering::SeqCst);
                        return Err(index);
                    }
                    while threads > 1 && !failed.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    }
                    if index == 1 { Err(index) } else { Ok(()) }
                },
            );
            assert_eq!(result, Err(1), "{threads}");
        }
    }
}
