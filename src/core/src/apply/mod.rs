//! Makes containers what the configuration says, and loses nothing.
//!
//! A container is replaced by one that is made beside it; the old one stays, stopped, as `NAME.previous`, and comes back by
//! itself if the new one does not run. At any moment at which the program or the machine is killed, the names of the containers and
//! two notes on persist tell the next run how far it came:
//!
//! ```text
//! NAME             the container in use
//! NAME.next        made and never started: removed, or taken if it was about to be
//! NAME.previous    what NAME was before
//! NAME.failed      did not work, about to be removed; NAME.previous comes back first
//! NAME.swap        was NAME, about to be NAME.previous, because somebody asked for the previous one
//! NAME.seed        never started: what its image has is copied out of it
//! NAME.unproven    note: NAME is new and has not shown that it works
//! NAME.held        note: what NAME was rolled back from
//! ```

mod proof;
mod replace;
mod seed;

use crate::config::{Config, Container};
use crate::engine::Engine;
use crate::engine::settings::settings;
use crate::failure::{Failure, Result};
use crate::held::Held;
use crate::images;
use crate::places::Places;
use crate::plan::{self, Action};
use crate::status::{State, Status};

pub use replace::rollback;

/// What may be done.
#[derive(Clone, Debug, Default)]
pub struct Permission {
    /// Containers are replaced although something in them is lost, and tried again after they were rolled back: all, or the
    /// named one.
    pub recreate: Option<Recreate>,
}

/// Which containers may be replaced with a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recreate {
    /// Each that must be.
    All,
    /// Only the one of this name.
    One(String),
}

impl Permission {
    fn covers(&self, name: &str) -> bool {
        match &self.recreate {
            None => false,
            Some(Recreate::All) => true,
            Some(Recreate::One(one)) => one == name,
        }
    }
}

/// What happened to a container.
#[derive(Debug)]
pub enum Outcome {
    /// It was as it should be.
    Nothing,
    /// It was started.
    Started,
    /// It was made.
    Created,
    /// It was replaced; the old one is `NAME.previous`.
    Recreated,
    /// It stays as it is.
    Kept(Failure),
    /// It could not be made right.
    Failed(Failure),
}

/// Applies the configuration. One container that fails does not keep others from it.
///
/// # Errors
///
/// The engine does not answer, or the status cannot be written.
pub fn apply(
    config: &Config,
    places: &Places,
    permission: &Permission,
    report: &mut dyn FnMut(&str, &Outcome),
) -> Result<()> {
    let names = config.containers.iter().map(|container| container.name.value.clone());
    let mut status = Status::begin(places, names)?;
    let engine = &Engine::connect(&places.engine).inspect_err(|failure| {
        for container in &config.containers {
            status.set(&container.name.value, State::Failed { reason: failure.to_string() });
        }
    })?;
    for container in &config.containers {
        let name = &container.name.value;
        let mut work = Work { config, engine, places, permission, status: &mut status };
        let outcome = work.container(container).unwrap_or_else(Outcome::Failed);
        match (&outcome, engine.container(name)) {
            // What is there and was there before is used on.
            (Outcome::Failed(failure), Ok(Some(found))) if found.running => {
                eprintln!("note: container `{name}` runs as it is: {}", failure.message);
                status.set(name, State::Ready { id: found.id });
            }
            (Outcome::Failed(failure), _) => status.set(name, State::Failed { reason: failure.to_string() }),
            (_, Ok(Some(found))) => status.set(name, State::Ready { id: found.id }),
            (_, Ok(None)) => status.set(name, State::Failed { reason: "the engine has lost it".into() }),
            (_, Err(failure)) => status.set(name, State::Failed { reason: failure.to_string() }),
        }
        report(name, &outcome);
    }
    Ok(())
}

/// What is needed to work on a container.
struct Work<'a> {
    config: &'a Config,
    engine: &'a Engine,
    places: &'a Places,
    permission: &'a Permission,
    status: &'a mut Status,
}

impl Work<'_> {
    fn container(&mut self, container: &Container) -> Result<Outcome> {
        let name = &container.name.value;
        replace::recover(container, self.engine, self.places)?;
        let image = self.image(container)?;
        let action = plan::action(container, Some(&image), self.engine, self.places)?;
        match action {
            Action::Nothing => Ok(Outcome::Nothing),
            Action::Start => {
                self.step(name, "starting");
                self.engine.start(name)?;
                proof::runs(container, name, self.engine)?;
                Ok(Outcome::Started)
            }
            Action::Create => {
                self.step(name, "making the container");
                seed::directories(container, self.engine, self.places)?;
                self.engine.create(name, &settings(container))?;
                self.start(container)?;
                Ok(Outcome::Created)
            }
            Action::Held { reason } if !self.permission.covers(name) => {
                let failure = Failure::new(format!("container `{name}` was rolled back from this: {reason}"));
                Ok(Outcome::Kept(
                    failure.hint(format!("`skiff-core apply --recreate {name}` tries it again")),
                ))
            }
            Action::Recreate { lost, .. } if !lost.is_empty() && !self.permission.covers(name) => {
                Ok(Outcome::Kept(loss(name, &lost)))
            }
            Action::Recreate { .. } | Action::Held { .. } => {
                self.step(name, "making the container anew");
                seed::directories(container, self.engine, self.places)?;
                Held::forget(name, self.places)?;
                replace::replace(container, &image, self.engine, self.places)?;
                Ok(Outcome::Recreated)
            }
        }
    }

    fn start(&mut self, container: &Container) -> Result<()> {
        if !container.start_after_create {
            return Ok(());
        }
        self.step(&container.name.value, "starting");
        self.engine.start(&container.name.value)?;
        proof::runs(container, &container.name.value, self.engine)
    }

    /// The id of the image of a container, which is made to be here.
    fn image(&mut self, container: &Container) -> Result<String> {
        let (name, reference) = (&container.name.value, &container.image.value);
        let Some(image) = self.config.image(reference) else {
            return self.engine.image(reference)?.ok_or_else(|| {
                Failure::new(format!("image `{reference}` is not here, and is not below `images`"))
                    .hint("say below `images` where it is from")
            });
        };
        let (action, _) = images::action(image, self.engine, self.places)?;
        if action != images::ImageAction::Nothing {
            self.step(name, &format!("image `{reference}` {}", action.words()));
        }
        let status = &mut *self.status;
        let mut progress = |text: &str| show(status, name, &format!("image `{reference}`: {text}"));
        images::ensure(image, self.engine, self.places, &mut progress)
    }

    fn step(&mut self, name: &str, step: &str) {
        show(self.status, name, step);
    }
}

/// Shows a step to those who wait for a container. Those who are in it are not sent away.
fn show(status: &mut Status, name: &str, step: &str) {
    println!("container `{name}`: {step}");
    if !matches!(status.of(name), Some(State::Ready { .. })) {
        status.set(name, State::Working { step: step.into() });
    }
}

/// Paths that a replacement would lose, as an error.
fn loss(name: &str, lost: &[String]) -> Failure {
    let shown: Vec<String> = lost.iter().take(5).map(|path| format!("`{path}`")).collect();
    let more = match lost.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "container `{name}` must be made anew, and {} path{} in it would be left behind: {}{more}",
        lost.len(),
        if lost.len() == 1 { "" } else { "s" },
        shown.join(", ")
    );
    let hint =
        format!("`skiff-core apply --recreate {name}` does it, and keeps the old one as `{name}.previous`");
    Failure::new(message).hint(hint)
}
