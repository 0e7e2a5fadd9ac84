//! `plan`, `apply` and `rollback`.

use std::process::ExitCode;

use skiff_core::apply::{self, Outcome, Permission, Recreate};
use skiff_core::config::Config;
use skiff_core::engine::Engine;
use skiff_core::failure::{Failure, Result};
use skiff_core::places::Places;
use skiff_core::plan::{self, Action};
use skiff_core::status::{Lock, Status};
use skiff_core::{accounts, images, quadlet, session, shipped};

use super::options::Options;
use super::{config_path, load, need_root, places, tell};

/// Prints what `apply` would do.
pub(super) fn plan(options: &Options) -> Result<ExitCode> {
    need_root("containers are looked at")?;
    let config = load(&config_path(options))?;
    let places = places(options);
    let engine = Engine::connect(&places.engine)?;
    for image in &config.images {
        let (action, _) = images::action(image, &engine, &places)?;
        println!("image `{}`: {}", image.reference.value, action.words());
    }
    for container in &config.containers {
        let image = engine.image(&container.image.value)?;
        let action = plan::action(container, image.as_deref(), &engine, &places)?;
        println!("container `{}`: {}", container.name.value, describe(&action));
    }
    plan_users(&config, options)?;
    Ok(ExitCode::SUCCESS)
}

fn plan_users(config: &Config, options: &Options) -> Result<()> {
    let report = accounts::plan(config, &accounts::Places::below(&options.root))?;
    for user in &config.users {
        let name = &user.name.value;
        let what = if report.changed.contains(name) { "is set up, in place" } else { "nothing" };
        println!("user `{name}`: {what}");
    }
    for name in &report.removed {
        println!("user `{name}`: is removed");
    }
    report.failures.iter().for_each(|failure| eprintln!("error: {failure}"));
    Ok(())
}

fn describe(action: &Action) -> String {
    match action {
        Action::Nothing => "nothing".into(),
        Action::Start => "is started, in place".into(),
        Action::Create => "is made".into(),
        Action::Held { reason } => format!("stays, it was rolled back from this: {reason}"),
        Action::Recreate { differences, lost } => {
            let mut text = String::from("is made anew");
            differences.iter().for_each(|difference| text.push_str(&format!("\n    {difference}")));
            match lost.len() {
                0 => text.push_str("\n    nothing would be lost"),
                count => text.push_str(&format!(
                    "\n    {count} paths in it would be left behind, so only with `--recreate`:"
                )),
            }
            lost.iter().take(20).for_each(|path| text.push_str(&format!("\n      {path}")));
            if lost.len() > 20 {
                text.push_str(&format!("\n      and {} more", lost.len() - 20));
            }
            text
        }
    }
}

/// Makes everything what the configuration says.
pub(super) fn apply(options: &Options) -> Result<ExitCode> {
    need_root("containers are changed")?;
    let config = load(&config_path(options))?;
    let places = places(options);
    let _lock = Lock::take(&places)?;
    match shipped::look(&places) {
        Ok(told) => told.iter().for_each(|told| eprintln!("note: {told}")),
        // Without it nothing but this is lost.
        Err(failure) => eprintln!("note: {failure}"),
    }
    // First, and without the engine: whoever logs in then sees what the containers do.
    let report = accounts::apply(&config, &accounts::Places::below(&options.root))?;
    session::routes::write(&config, &report.uids, &places)?;
    let accounts_are_right = tell(&report);
    let containers = apply_containers(&config, &places, options)?;
    let failures = session::create_users(&config, &Status::read(&places)?, &session::Runtime::default());
    failures.iter().for_each(|failure| eprintln!("error: {failure}"));
    Ok(match (accounts_are_right && failures.is_empty(), containers) {
        (true, Applied::All) => ExitCode::SUCCESS,
        (true, Applied::Undecided) => ExitCode::from(UNDECIDED),
        _ => ExitCode::FAILURE,
    })
}

/// Status of an `apply` that has left a container as it is: trying again does not help.
const UNDECIDED: u8 = 3;

/// How far the containers are what the configuration says, from the best to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Applied {
    All,
    /// Somebody has to decide.
    Undecided,
    Failed,
}

fn apply_containers(config: &Config, places: &Places, options: &Options) -> Result<Applied> {
    if config.containers.is_empty() {
        return Ok(Applied::All);
    }
    let recreate = match (&options.operand, options.recreate) {
        (Some(name), _) => Some(Recreate::One(name.to_string_lossy().into_owned())),
        (None, true) => Some(Recreate::All),
        (None, false) => None,
    };
    let permission = Permission { recreate };
    let mut applied = Applied::All;
    let mut report = |name: &str, outcome: &Outcome| match outcome {
        Outcome::Nothing => println!("container `{name}`: is as it should be"),
        Outcome::Started => println!("container `{name}`: runs"),
        Outcome::Created => println!("container `{name}`: was made"),
        Outcome::Recreated => println!("container `{name}`: was made anew; the old one is `{name}.previous`"),
        Outcome::Kept(failure) => {
            applied = applied.max(Applied::Undecided);
            eprintln!("error: {failure}");
        }
        Outcome::Failed(failure) => {
            applied = Applied::Failed;
            eprintln!("error: {failure}");
        }
    };
    apply::apply(config, places, &permission, &mut report)?;
    Ok(applied)
}

/// Prints units for all containers, or one.
pub(super) fn quadlet(options: &Options) -> Result<ExitCode> {
    let config = load(&config_path(options))?;
    let wanted = options.operand.as_ref().map(|name| name.to_string_lossy());
    let chosen = config
        .containers
        .iter()
        .filter(|container| wanted.as_ref().is_none_or(|name| *name == container.name.value));
    let units: Vec<String> = chosen.map(|container| quadlet::unit(container, &config)).collect();
    match (units.is_empty(), wanted) {
        (true, Some(name)) => Err(Failure::new(format!("the configuration has no container `{name}`"))),
        _ => {
            print!("{}", units.join("\n"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Goes back to the previous container.
pub(super) fn rollback(options: &Options) -> Result<ExitCode> {
    need_root("containers are changed")?;
    let places = places(options);
    let _lock = Lock::take(&places)?;
    let engine = Engine::connect(&places.engine)?;
    let name = options.operand.as_deref().unwrap_or(std::path::Path::new("")).to_string_lossy();
    apply::rollback(&name, &engine, &places)?;
    println!("container `{name}`: the previous one is back");
    Ok(ExitCode::SUCCESS)
}
