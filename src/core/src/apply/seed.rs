//! Directories of the host that a container mounts.
//!
//! One on persist that is not there begins with what the image has at its place, with owners and modes: a home has its
//! profile and belongs to its user. What is there is never touched.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::{Container, Mount};
use crate::engine::Engine;
use crate::failure::{Failure, Result};
use crate::places::{PERSIST, Places};

/// Makes the directories that are missing.
///
/// # Errors
///
/// One cannot be made, or the engine does not give what the image has.
pub(super) fn directories(container: &Container, engine: &Engine, places: &Places) -> Result<()> {
    let persist = places.root.join(PERSIST);
    for mount in &container.mounts {
        let source = Path::new(&mount.source);
        if !source.is_absolute() || source.exists() {
            continue;
        }
        let parent = source.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(|error| Failure::file("make the directory", parent, error))?;
        match source.starts_with(&persist) {
            true => seed(container, mount, engine)?,
            false => {
                fs::create_dir(source).map_err(|error| Failure::file("make the directory", source, error))?
            }
        }
    }
    Ok(())
}

/// Makes the source of a mount of what the image has at its target. It gets its name when it is whole.
fn seed(container: &Container, mount: &Mount, engine: &Engine) -> Result<()> {
    let source = Path::new(&mount.source);
    let unfinished = unfinished(source);
    let fail = |error: io::Error| Failure::file("make the directory", source, error);
    clear(&unfinished).map_err(fail)?;
    fs::create_dir(&unfinished).map_err(fail)?;
    copy(container, &mount.target, engine, &unfinished)?;
    let inside = unfinished.join(mount.target.trim_matches('/'));
    if !fs::symlink_metadata(&inside).is_ok_and(|found| found.is_dir()) || inside == unfinished {
        clear(&unfinished).map_err(fail)?;
        return fs::create_dir(source).map_err(fail);
    }
    File::open(&unfinished).and_then(|file| Ok(rustix::fs::syncfs(file)?)).map_err(fail)?;
    fs::rename(&inside, source).map_err(fail)?;
    clear(&unfinished).map_err(fail)
}

/// Beside a directory, so that what is made there can be moved to it.
fn unfinished(source: &Path) -> PathBuf {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    source.with_file_name(format!(".{name}.unfinished"))
}

fn clear(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a path of the image, through a container that is never started.
fn copy(container: &Container, path: &str, engine: &Engine, to: &Path) -> Result<()> {
    let name = format!("{}.seed", container.name.value);
    engine.remove(&name)?;
    engine.create(&name, &json!({"Image": container.image.value, "Cmd": ["/"]}))?;
    let copied = engine.copy(&name, path, to);
    engine.remove(&name)?;
    copied
}
