//! Checks of how the system finds its root: the kernel's command line and what it names.

use super::super::files::PartitionFiles;
use super::super::medium::PlannedMedium;
use super::{listed, quoted};
use crate::board::{FilesystemKind, RootStyle};

pub fn command_line(medium: &PlannedMedium<'_>) -> Vec<String> {
    let most = medium.arch.command_line_size() - 1;
    let mut found = Vec::new();
    for text in &medium.texts {
        let long = text.command_lines().into_iter().map(str::len).filter(|len| *len > most);
        found.extend(long.map(|len| {
            let (name, arch) = (&text.name, medium.arch);
            format!("a command line in `{name}` has {len} bytes but a kernel for `{arch}` keeps {most}")
        }));
    }
    found
}

pub fn files(
    medium: &PlannedMedium<'_>,
    root: RootStyle,
    formats: &[FilesystemKind],
    files: &[String],
) -> Vec<String> {
    if medium.board.root != root {
        return Vec::new();
    }
    let fitting = medium.filesystems().filter(|(format, _)| formats.contains(format));
    let absent = |(_, there): (FilesystemKind, &PartitionFiles)| -> Vec<String> {
        files.iter().filter(|file| !there.hold(file, false)).cloned().collect()
    };
    let missing: Vec<Vec<String>> = fitting.map(absent).collect();
    match missing.iter().min_by_key(|missing| missing.len()) {
        None => vec![format!("no filesystem is {}", quoted(formats))],
        Some(least) if !least.is_empty() => {
            vec![format!("{} is on no filesystem that is {}", listed(least), quoted(formats))]
        }
        Some(_) => Vec::new(),
    }
}

pub fn init(medium: &PlannedMedium<'_>, roots: &[RootStyle]) -> Vec<String> {
    if !roots.contains(&medium.board.root) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for text in &medium.texts {
        for line in text.command_lines() {
            let init = line.split_whitespace().find_map(|word| word.strip_prefix("init="));
            let name = &text.name;
            match init {
                None => found.push(format!("a command line in `{name}` has no `init=`")),
                Some(path) if path.contains('$') => {}
                Some(path) if medium.filesystems().any(|(_, files)| files.hold(path, false)) => {}
                Some(path) => found.push(format!("`{name}` has `init={path}`, which is on no filesystem")),
            }
        }
    }
    found
}
