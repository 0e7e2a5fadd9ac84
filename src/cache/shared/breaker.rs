//! Gives a store up after too many failures, so that a build loses little time to one that does not work.

use std::sync::{Mutex, PoisonError};

use super::StoreError;

/// Open means that the store is not asked any more.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    allowed: u32,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// Reason why it is open.
    reason: Option<String>,
}

impl Breaker {
    /// A closed one that bears less than `allowed` failures in a row.
    pub fn new(allowed: u32) -> Breaker {
        Breaker { state: Mutex::default(), allowed }
    }

    pub fn is_open(&self) -> bool {
        self.state().reason.is_some()
    }

    /// Reason why it is open, if it is.
    pub fn reason(&self) -> Option<String> {
        self.state().reason.clone()
    }

    pub fn succeeded(&self) {
        self.state().failures = 0;
    }

    pub fn failed(&self, error: &StoreError) {
        let mut state = self.state();
        state.failures += 1;
        if error.is_final() || state.failures >= self.allowed {
            state.reason.get_or_insert_with(|| error.to_string());
        }
    }

    /// Opens it for good. The first reason is the one that is reported.
    pub fn open(&self, reason: String) {
        self.state().reason.get_or_insert(reason);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // What is behind it is valid after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(answer: &str) -> StoreError {
        StoreError::Refused { endpoint: "https://host".into(), answer: answer.into() }
    }

    #[test]
    fn failures_in_a_row_open_it_and_the_last_of_them_is_reported() {
        let breaker = Breaker::new(3);
        breaker.failed(&refused("HTTP 500"));
        breaker.failed(&refused("HTTP 501"));
        assert!(!breaker.is_open());
        breaker.failed(&refused("HTTP 502"));
        breaker.failed(&refused("HTTP 503"));
        breaker.open("something else".into());
        breaker.succeeded();
        assert_eq!(breaker.reason().as_deref(), Some("`https://host` answers HTTP 502"));
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let breaker = Breaker::new(2);
        for _ in 0..10 {
            breaker.failed(&refused("HTTP 500"));
            breaker.succeeded();
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn what_cannot_get_better_opens_it_at_once() {
        let breaker = Breaker::new(3);
        breaker.failed(&StoreError::Denied { endpoint: "https://host".into(), answer: "HTTP 403".into() });
        assert_eq!(breaker.reason().as_deref(), Some("`https://host` refuses these credentials: HTTP 403"));
    }
}
