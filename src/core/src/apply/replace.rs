//! A new container in the place of an old one, and back.

use std::time::Duration;

use serde_json::Value;

use super::proof;
use crate::config::Container;
use crate::engine::Engine;
use crate::engine::settings::settings;
use crate::failure::{Failure, Result};
use crate::held::{Held, Unproven};
use crate::places::Places;

/// What a container has to stop before it is killed. A systemd gives its units 90 s each; few take more than seconds.
const GRACE: Duration = Duration::from_secs(30);

/// Names of the containers that belong to one.
struct Names {
    current: String,
    next: String,
    previous: String,
    failed: String,
    swap: String,
}

impl Names {
    fn of(name: &str) -> Self {
        let with = |end: &str| format!("{name}.{end}");
        let [next, previous, failed, swap] = ["next", "previous", "failed", "swap"].map(with);
        Self { current: name.into(), next, previous, failed, swap }
    }
}

/// Puts a new container in the place of the one that is there.
///
/// # Errors
///
/// The new one does not work; then the old one is back, and what was tried is held.
pub(super) fn replace(container: &Container, image: &str, engine: &Engine, places: &Places) -> Result<()> {
    let names = Names::of(&container.name.value);
    let wanted = settings(container);
    engine.remove(&names.next)?;
    engine.create(&names.next, &wanted)?;
    engine.stop(&names.current, GRACE)?;
    engine.remove(&names.previous)?;
    Unproven::of(&names.current, places).set()?;
    engine.rename(&names.current, &names.previous)?;
    engine.rename(&names.next, &names.current)?;
    prove(container, &wanted, image, engine, places)
}

/// Starts a container that is new; one that does not work makes place for the previous one.
fn prove(
    container: &Container,
    settings: &Value,
    image: &str,
    engine: &Engine,
    places: &Places,
) -> Result<()> {
    let names = Names::of(&container.name.value);
    let works = match container.start_after_create {
        false => Ok(()),
        true => engine.start(&names.current).and_then(|()| proof::runs(container, &names.current, engine)),
    };
    let unproven = Unproven::of(&names.current, places);
    let Err(failure) = works else { return unproven.clear() };
    Held::new(settings, image, &failure.message).save(&names.current, places)?;
    engine.rename(&names.current, &names.failed)?;
    back(&names, engine)?;
    unproven.clear()?;
    let message = format!("{}; the previous one is back", failure.message);
    Err(Failure::new(message).hint(format!(
        "correct the configuration; `skiff-core apply --recreate {}` tries the same again",
        names.current
    )))
}

/// Makes the previous container the current one; what failed is removed when that runs.
fn back(names: &Names, engine: &Engine) -> Result<()> {
    engine.stop(&names.failed, GRACE)?;
    engine.rename(&names.previous, &names.current)?;
    engine.start(&names.current)?;
    engine.remove(&names.failed)
}

/// Finishes what a run began that was killed.
pub(super) fn recover(container: &Container, engine: &Engine, places: &Places) -> Result<()> {
    let names = Names::of(&container.name.value);
    let unproven = Unproven::of(&names.current, places);
    finish_swap(&names, engine)?;
    let current = engine.container(&names.current)?;
    let previous = engine.container(&names.previous)?;
    let next = engine.container(&names.next)?;
    let failed = engine.container(&names.failed)?;
    if failed.is_some() {
        match (&current, &previous) {
            (None, Some(_)) => back(&names, engine)?,
            (Some(_), _) => engine.remove(&names.failed)?,
            // Nothing else is left; better than nothing.
            (None, None) => engine.rename(&names.failed, &names.current)?,
        }
        return unproven.clear();
    }
    if current.is_none() && previous.is_some() && unproven.is_set() {
        match next {
            Some(next) if next.settings == settings(container) => {
                engine.rename(&names.next, &names.current)?
            }
            _ => {
                engine.rename(&names.previous, &names.current)?;
                engine.remove(&names.next)?;
                return unproven.clear();
            }
        }
    } else if next.is_some() {
        // It was never started, so nothing is in it.
        engine.remove(&names.next)?;
    }
    let current = engine.container(&names.current)?.filter(|_| unproven.is_set());
    match (current, engine.container(&names.previous)?) {
        (Some(current), Some(_)) => prove(container, &current.settings, &current.image, engine, places),
        _ => unproven.clear(),
    }
}

/// Finishes a change of places that was asked for.
fn finish_swap(names: &Names, engine: &Engine) -> Result<()> {
    if engine.container(&names.swap)?.is_none() {
        return Ok(());
    }
    if engine.container(&names.current)?.is_none() && engine.container(&names.previous)?.is_some() {
        engine.rename(&names.previous, &names.current)?;
    }
    if engine.container(&names.previous)?.is_none() {
        engine.rename(&names.swap, &names.previous)?;
    }
    engine.start(&names.current)
}

/// Makes `NAME.previous` the container in use, and what is in use `NAME.previous`. What it is taken back from is held.
///
/// # Errors
///
/// There is no previous one, or the engine does not answer.
pub fn rollback(name: &str, engine: &Engine, places: &Places) -> Result<()> {
    let names = Names::of(name);
    finish_swap(&names, engine)?;
    if engine.container(&names.previous)?.is_none() {
        let failure = Failure::new(format!("there is no container `{}` to go back to", names.previous));
        return Err(failure.hint("one is kept when `apply` makes a container anew"));
    }
    if let Some(current) = engine.container(&names.current)? {
        Held::new(&current.settings, &current.image, "somebody asked for it").save(name, places)?;
        engine.stop(&names.current, GRACE)?;
        engine.rename(&names.current, &names.swap)?;
        return finish_swap(&names, engine);
    }
    engine.rename(&names.previous, &names.current)?;
    engine.start(&names.current)
}
