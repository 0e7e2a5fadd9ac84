//! Proof that a container works.

use std::time::{Duration, Instant};

use crate::config::{Container, RestartPolicy};
use crate::engine::Engine;
use crate::failure::{Failure, Result};

/// How long a container without a test must run.
const SETTLE: Duration = Duration::from_secs(2);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until a container has shown that it works: by its test, else by running for two seconds.
///
/// # Errors
///
/// It has ended, is unhealthy, or its test did not succeed in the time that its settings give it.
pub(super) fn runs(container: &Container, name: &str, engine: &Engine) -> Result<()> {
    let start = Instant::now();
    let deadline = container.health.as_ref().map(|health| {
        let tries = health.retries + 1;
        health.start_period + (health.interval + health.timeout) * tries
    });
    let before = engine.container(name)?.map_or(0, |found| found.restarts);
    let mut failures = 0;
    loop {
        let found = engine.container(name)?;
        let found = found.ok_or_else(|| Failure::new(format!("container `{name}` is gone")))?;
        if !found.running && found.restarts == before && is_done(container, found.exit_code) {
            return Ok(());
        }
        if !found.running || found.restarts > before {
            return Err(ended(name, found.exit_code, engine));
        }
        let health = match (&container.health, deadline) {
            (Some(health), Some(deadline)) => (health, deadline),
            _ if start.elapsed() >= SETTLE => return Ok(()),
            _ => {
                std::thread::sleep(LOOK);
                continue;
            }
        };
        let (settings, deadline) = health;
        match engine.health(name)?.as_str() {
            "healthy" => return Ok(()),
            "unhealthy" if start.elapsed() > settings.start_period => failures += 1,
            _ => {}
        }
        if failures >= settings.retries || start.elapsed() > deadline {
            let message =
                format!("container `{name}` runs, but its test fails: `{}`", settings.test.join(" "));
            return Err(Failure::new(message));
        }
        std::thread::sleep(settings.interval.min(Duration::from_secs(5)).max(LOOK));
    }
}

/// Whether a container that has ended did so as it should: its work was done, and it is not to be started again.
fn is_done(container: &Container, exit_code: i64) -> bool {
    let once = matches!(container.restart_policy, RestartPolicy::No | RestartPolicy::OnFailure(_));
    once && exit_code == 0
}

fn ended(name: &str, exit_code: i64, engine: &Engine) -> Failure {
    let lines = engine.last_lines(name).unwrap_or_default();
    let said = match lines.is_empty() {
        true => String::new(),
        false => format!("; it wrote: {}", lines.join(" / ")),
    };
    Failure::new(format!("container `{name}` ended with status {exit_code} after its start{said}"))
}
