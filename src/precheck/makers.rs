//! Who makes the files of the images directory: Buildroot by its settings, packages by what their makefiles name, and
//! hooks of layers by what their scripts name. A package or hook that names a file is taken at its word.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Foreseen, Subject};
use crate::buildroot::config::Config;
use crate::buildroot::hooks::Phase;
use crate::buildroot::images;
use crate::error::{Io, Result};

/// Directories that several packages share, so that their names say nothing.
const SHARED: [&str; 2] = ["efi-part", "skiff-init"];
/// Packages whose source is the project around their external tree, by their symbols, with the directory of the source.
const OWN_PACKAGES: [(&str, &str, &str); 2] = [
    ("BR2_PACKAGE_SKIFF_INIT", "skiff-init", "src/init/Cargo.toml"),
    ("BR2_PACKAGE_SKIFF_CORE", "skiff-core", "src/core/Cargo.toml"),
];

pub(super) struct Makers<'a> {
    subject: &'a Subject<'a>,
    hooks: Vec<String>,
    /// Read when they are asked for the first time, because most boards need none of them.
    packages: Option<Vec<String>>,
}

impl<'a> Makers<'a> {
    pub(super) fn new(subject: &'a Subject<'a>) -> Result<Makers<'a>> {
        let mut hooks = Vec::new();
        for layer in subject.layers {
            for phase in [Phase::Pre, Phase::Post] {
                let path = layer.file(phase.script());
                hooks.extend(path.map(|path| text(&path)).transpose()?);
            }
        }
        Ok(Makers { subject, hooks, packages: None })
    }

    /// Returns whether something makes the file or directory, which may have a `*` in it.
    pub(super) fn make(&mut self, file: &str) -> Result<bool> {
        let made = images::makes(self.subject.config, file);
        if made == Some(true) || self.hooks.iter().any(|text| names(text, file, 1)) {
            return Ok(true);
        }
        // What Buildroot's own settings decide is in the makefile of its package, whatever they are.
        Ok(made.is_none() && self.packages()?.iter().any(|text| names(text, file, 2)))
    }

    fn packages(&mut self) -> Result<&[String]> {
        if self.packages.is_none() {
            let mut found = Vec::new();
            let own = ["boot", "package"].map(|part| self.subject.buildroot.join(part));
            let external = self.subject.externals.iter().map(|tree| tree.join("package"));
            for directory in own.into_iter().chain(external) {
                read_selected(&directory, self.subject.config, 2, &mut found)?;
            }
            self.packages = Some(found);
        }
        Ok(self.packages.as_deref().unwrap_or_default())
    }
}

/// Returns whether a text names a file by its last components, or by the directory of its own that it is in. Of a script one
/// component is enough; a makefile of a package names many words.
fn names(text: &str, file: &str, components: usize) -> bool {
    let start = file.rmatch_indices('/').nth(components - 1).map_or(0, |(at, _)| at + 1);
    let name = file[start..].split('*').next().unwrap_or_default();
    let directory = file.split_once('/').map(|(directory, _)| directory);
    let directory = directory.filter(|name| !SHARED.contains(name));
    (!name.is_empty() && text.contains(name)) || directory.is_some_and(|directory| text.contains(directory))
}

/// Reads the makefiles of the packages in a directory, and in the groups of packages in it, that are selected.
fn read_selected(directory: &Path, config: &Config, depth: u32, found: &mut Vec<String>) -> Result<()> {
    for path in entries(directory)?.into_iter().filter(|path| path.is_dir()) {
        let name =
            path.file_name().unwrap_or_default().to_string_lossy().to_uppercase().replace(['-', '.'], "_");
        let symbols =
            [format!("BR2_PACKAGE_{name}"), format!("BR2_TARGET_{name}"), format!("BR2_PACKAGE_HOST_{name}")];
        if symbols.iter().any(|symbol| config.is_set(symbol)) {
            for file in entries(&path)?.into_iter().filter(|file| file.extension().is_some_and(|e| e == "mk"))
            {
                found.push(text(&file)?);
            }
        }
        if depth > 1 {
            read_selected(&path, config, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Lists a directory that may not be there, in byte order.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).map_err(Io::on("list", directory))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Io::on("list", directory))?;
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Io::on("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The packages of this project, where the source that they are built from is not around them.
pub(super) fn without_source(subject: &Subject<'_>) -> Vec<Foreseen> {
    let set = OWN_PACKAGES.iter().filter(|(symbol, ..)| subject.config.is_set(symbol));
    set.filter_map(|(_, package, manifest)| {
        let own = |tree: &&PathBuf| tree.join(format!("package/{package}/{package}.mk")).is_file();
        let source = subject.externals.iter().find(own)?.parent()?;
        let missing = ["Cargo.lock", manifest].into_iter().find(|file| !source.join(file).is_file())?;
        let source = source.display();
        Some(Foreseen::new(
            format!(
                "{package} cannot be built: it is built from the source around `buildroot/`, and `{source}/{missing}` is not there"
            ),
            "take the whole source of skiff-image, a clone or an archive of it, and not its `buildroot/` alone",
        ))
    })
    .collect()
}
