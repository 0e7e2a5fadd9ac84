//! Compiler flags that changed reach a compiler that is built already only when it is built again, as SkiffOS does it:
//! by removing the stamps of its last steps.

use std::fs;
use std::io::ErrorKind;

use super::Configuration;
use super::files::CFLAGS;
use crate::error::Io;
use crate::workspace::Workspace;

const STAMPS: [&str; 4] = [".stamp_built", ".stamp_configured", ".stamp_host_installed", ".stamp_installed"];

/// To be called before the flags are written, so that a run that ends in between does it again.
pub(super) fn remove_if_flags_changed(
    workspace: &Workspace,
    configuration: &Configuration,
) -> Result<(), Io> {
    let flags = workspace.config().join(CFLAGS);
    let before = match fs::read(&flags) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Io::on("read", &flags)(error)),
    };
    // Files of SkiffOS end with a newline, and have it alone if there are no flags.
    if before.trim_ascii() == configuration.files[CFLAGS].bytes.trim_ascii() {
        return Ok(());
    }
    let build = workspace.output().join("build");
    for entry in fs::read_dir(&build).into_iter().flatten() {
        let entry = entry.map_err(Io::on("list", &build))?;
        if is_compiler(&entry.file_name().to_string_lossy()) {
            STAMPS.iter().try_for_each(|stamp| remove(&entry.path().join(stamp)))?;
        }
    }
    Ok(())
}

/// `*gcc-*-*`: gcc and what is built of it, at any version.
fn is_compiler(name: &str) -> bool {
    name.split_once("gcc-").is_some_and(|(_, rest)| rest.contains('-'))
}

fn remove(path: &std::path::Path) -> Result<(), Io> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Io::on("remove", path)(error)),
        _ => Ok(()),
    }
}
