//! Images: on the device already, from an archive on its medium, from a registry, or built.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Image, Pull, PullPolicy};
use crate::engine::{Engine, Progress};
use crate::failure::{Failure, Result, read_if_there};
use crate::places::Places;
use crate::replace::replace;

/// What an image needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageAction {
    /// It is here.
    Nothing,
    /// Its archive is loaded or imported.
    Load,
    /// Its registry is asked, whether it is here or not.
    Refresh,
    /// Its registry is asked for it.
    Pull,
    /// It is built.
    Build,
}

impl ImageAction {
    /// What is done, in words.
    pub fn words(self) -> &'static str {
        match self {
            ImageAction::Nothing => "is here",
            ImageAction::Load => "is loaded from its archive",
            ImageAction::Refresh => "is asked for at its registry, because of `pullPolicy: always`",
            ImageAction::Pull => "is pulled",
            ImageAction::Build => "is built",
        }
    }
}

/// What `image` needs, and its id if it is here.
///
/// # Errors
///
/// The engine does not answer.
pub fn action(image: &Image, engine: &Engine, places: &Places) -> Result<(ImageAction, Option<String>)> {
    let here = engine.image(&image.reference.value)?;
    let is_new = |archive: PathBuf| match archive.is_file() {
        true => here.is_none() || Loaded::of(image, places).is_other(&archive),
        // What else is there may do instead; if there is nothing, this is what is wrong.
        false => here.is_none() && image.pull.is_none() && image.build.is_none(),
    };
    let action = if archive(image, places).is_some_and(is_new) {
        ImageAction::Load
    } else if image.pull.as_ref().is_some_and(|pull| pull.policy == PullPolicy::Always) {
        ImageAction::Refresh
    } else if here.is_some() {
        ImageAction::Nothing
    } else {
        match &image.pull {
            Some(pull) if pull.policy != PullPolicy::IfBuildFails || image.build.is_none() => {
                ImageAction::Pull
            }
            _ => ImageAction::Build,
        }
    };
    Ok((action, here))
}

/// Does what an image needs; its id.
///
/// # Errors
///
/// No way led to the image; the message has all reasons.
pub fn ensure(image: &Image, engine: &Engine, places: &Places, progress: Progress<'_>) -> Result<String> {
    let reference = &image.reference.value;
    let (action, here) = action(image, engine, places)?;
    let done = match action {
        ImageAction::Nothing => Ok(()),
        ImageAction::Load => load(image, engine, places, progress),
        ImageAction::Refresh | ImageAction::Pull => {
            let pull = image.pull.as_ref().expect("it was looked at");
            match self::pull(reference, pull, engine, progress) {
                Err(failure) if here.is_none() => otherwise(failure, build(image, engine, progress)),
                done => done,
            }
        }
        ImageAction::Build => match build(image, engine, progress) {
            Some(Err(failure)) => {
                let fallback = image.pull.as_ref().map(|pull| self::pull(reference, pull, engine, progress));
                otherwise(failure, fallback)
            }
            Some(Ok(())) => Ok(()),
            None => Err(Failure::new(format!(
                "image `{reference}` is not here, and nothing says where it is from"
            ))),
        },
    };
    match (done, here) {
        // What is here is better than nothing.
        (Err(failure), Some(id)) => {
            eprintln!("note: {}; the image that is here is used", failure.message);
            Ok(id)
        }
        (Err(failure), None) => Err(failure),
        (Ok(()), _) => engine.image(reference)?.ok_or_else(|| {
            Failure::new(format!("image `{reference}` is not here, although the engine says it was made"))
                .hint("the archive may have an image of another name")
        }),
    }
}

/// A second way, if there is one; both reasons if it does not lead anywhere either.
fn otherwise(first: Failure, second: Option<Result<()>>) -> Result<()> {
    match second {
        None => Err(first),
        Some(Ok(())) => Ok(()),
        Some(Err(second)) => Err(Failure::new(format!("{}; {}", first.message, second.message))),
    }
}

fn build(image: &Image, engine: &Engine, progress: Progress<'_>) -> Option<Result<()>> {
    let build = image.build.as_ref()?;
    Some(engine.build(&image.reference.value, build, progress))
}

/// Asks a registry, again after 1, 2, 4, ... seconds, at most 30.
fn pull(reference: &str, pull: &Pull, engine: &Engine, progress: Progress<'_>) -> Result<()> {
    let from = match &pull.registry {
        Some(registry) => format!("{registry}/{reference}"),
        None => reference.to_string(),
    };
    let mut pause = Duration::from_secs(1);
    for left in (0..=pull.retries).rev() {
        let failure = match engine.pull(&from, progress) {
            Ok(()) if from == reference || reference.contains('@') => return Ok(()),
            Ok(()) => return engine.tag(&from, reference),
            Err(failure) if left == 0 => return Err(failure),
            Err(failure) => failure,
        };
        progress(&format!("{}; trying again in {} s, {left} times more", failure.message, pause.as_secs()));
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(30));
    }
    Ok(())
}

/// The archive of an image: the one that its settings name, else the one that the medium was made with.
fn archive(image: &Image, places: &Places) -> Option<PathBuf> {
    let named = image.archive.as_ref().or(image.import.as_ref()).map(PathBuf::from);
    named.or_else(|| Some(places.archive(&image.reference.value)).filter(|path| path.is_file()))
}

fn load(image: &Image, engine: &Engine, places: &Places, progress: Progress<'_>) -> Result<()> {
    let path = &archive(image, places).expect("it was looked at");
    if !path.is_file() {
        let failure =
            Failure::new(format!("image `{}`: there is no `{}`", image.reference.value, path.display()));
        return Err(failure.hint("put the archive there, or pull the image"));
    }
    let loaded = Loaded::of(image, places);
    let reference = &image.reference.value;
    if image.import.is_some() {
        engine.import(path, reference, progress)?;
    } else {
        let name = engine.load(path, progress)?;
        let known = engine.image(reference)?;
        match name.as_deref().map(|name| engine.image(name)).transpose()?.flatten() {
            Some(id) if known.as_ref() != Some(&id) => engine.tag(&id, reference)?,
            _ => {}
        }
    }
    loaded.remember(path)
}

/// Which archive an image was loaded from: a new one with the same name is another image.
struct Loaded {
    path: PathBuf,
}

impl Loaded {
    fn of(image: &Image, places: &Places) -> Self {
        let name: String =
            image.reference.value.chars().map(|letter| if letter == '/' { '+' } else { letter }).collect();
        Self { path: places.state.join(format!("{name}.archive")) }
    }

    /// Length and time of change. To read gigabytes for a digest at every start would take longer than the start.
    fn mark(archive: &Path) -> Option<String> {
        let stat = fs::metadata(archive).ok()?;
        Some(format!("{} {} {}.{}\n", archive.display(), stat.len(), stat.mtime(), stat.mtime_nsec()))
    }

    /// Whether the archive is there and not the one that was loaded.
    fn is_other(&self, archive: &Path) -> bool {
        let known = read_if_there(&self.path).ok().flatten();
        Self::mark(archive).is_some_and(|mark| known.as_deref() != Some(mark.as_bytes()))
    }

    fn remember(&self, archive: &Path) -> Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)
            .map_err(|error| Failure::file("make the directory", directory, error))?;
        replace(&self.path, Self::mark(archive).unwrap_or_default().as_bytes(), 0o644).map(drop)
    }
}
