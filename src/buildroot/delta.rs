//! Changes that a user made in an editor of configurations (`menuconfig`), kept as a fragment of the workspace's
//! overrides, so that the next configure does not lose it.
//!
//! Names and contents of the files are SkiffOS' (`scripts/write_buildroot_config_delta.sh`): settings that were changed
//! or added, in the order of their names. There a second edit replaces what the first one saved; here it is merged
//! into it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Io;
use crate::layer::fragment::Kind;

/// Symbols that Buildroot sets itself whatever a fragment says.
const NOT_SAVED: [&str; 3] = ["BR2_DEFCONFIG", "BR2_VERSION", "BR2_HAVE_DOT_CONFIG"];
/// Goals that edit a configuration. Without a package in front it is Buildroot's.
const EDITORS: [&str; 5] = ["config", "menuconfig", "nconfig", "gconfig", "xconfig"];

/// A configuration that can be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Editable {
    /// Buildroot's own.
    Buildroot,
    /// The kernel's.
    Linux,
    /// U-Boot's.
    UBoot,
    /// BusyBox's.
    Busybox,
}

impl Editable {
    /// Returns the configuration that a goal of make edits, if any.
    pub fn from_goal(goal: &str) -> Option<Editable> {
        if EDITORS.contains(&goal) {
            return Some(Editable::Buildroot);
        }
        let (package, editor) = goal.rsplit_once('-')?;
        let packages = [Editable::Linux, Editable::UBoot, Editable::Busybox];
        packages.into_iter().find(|edited| EDITORS.contains(&editor) && edited.package() == package)
    }

    /// The package; empty for Buildroot.
    pub fn package(self) -> &'static str {
        match self {
            Editable::Buildroot => "",
            Editable::Linux => "linux",
            Editable::UBoot => "uboot",
            Editable::Busybox => "busybox",
        }
    }

    /// Path of the fragment in a layer.
    fn fragment(self) -> &'static str {
        match self {
            Editable::Buildroot => "buildroot/zz-buildroot-menuconfig-delta",
            Editable::Linux => "kernel/zz-linux-menuconfig-delta",
            Editable::UBoot => "uboot/zz-uboot-menuconfig-delta",
            Editable::Busybox => "busybox/zz-busybox-menuconfig-delta",
        }
    }

    /// Kind of the fragments.
    pub fn kind(self) -> Kind {
        match self {
            Editable::Buildroot => Kind::Buildroot,
            Editable::Linux => Kind::Kernel,
            Editable::UBoot => Kind::UBoot,
            Editable::Busybox => Kind::Busybox,
        }
    }
}

/// Settings by their symbols, with their values as they stand in a `.config`; `n` for what is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Those of a `.config` or a fragment; a file that is not there has none.
    pub fn read(path: &Path) -> Result<Settings, Io> {
        match fs::read(path) {
            Ok(bytes) => Ok(Settings::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
            Err(error) => Err(Io::on("read", path)(error)),
        }
    }

    /// Those of a text.
    pub fn parse(text: &str) -> Settings {
        let settings = text.lines().filter_map(|line| setting(line.trim()));
        Settings(settings.map(|(symbol, value)| (symbol.to_owned(), value.to_owned())).collect())
    }

    /// Number of settings.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no settings.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Settings that are different here, or only here.
    pub fn since(&self, before: &Settings) -> Settings {
        let mut changed = self.clone();
        changed.0.retain(|symbol, value| {
            before.0.get(symbol) != Some(value) && !NOT_SAVED.contains(&symbol.as_str())
        });
        changed
    }

    /// As a fragment.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (symbol, value) in &self.0 {
            let written = match value.as_str() {
                "n" => writeln!(text, "# {symbol} is not set"),
                value => writeln!(text, "{symbol}={value}"),
            };
            written.expect("a string takes all");
        }
        text
    }
}

/// Symbol and value of a line.
fn setting(line: &str) -> Option<(&str, &str)> {
    match line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set")) {
        Some(symbol) => Some((symbol, "n")),
        None if line.starts_with('#') => None,
        None => line.split_once('='),
    }
}

/// A saved edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The fragment.
    pub path: PathBuf,
    /// Number of settings that the edit changed, or took out of what was saved.
    pub changed: usize,
    /// Number of settings in the fragment now.
    pub settings: usize,
    /// Number of them that are of earlier edits.
    pub kept: usize,
}

/// Saves what was changed from `before` to `after` below the overrides of a workspace, with what was saved earlier.
/// What was saved and is gone from the configuration now is dropped. Nothing that is saved leaves no file.
pub fn save(edited: Editable, overrides: &Path, before: &Settings, after: &Settings) -> Result<Saved, Io> {
    let path = overrides.join(edited.fragment());
    let changes = after.since(before);
    let mut merged = Settings::read(&path)?;
    let saved = merged.len();
    merged.0.retain(|symbol, _| after.0.contains_key(symbol) || !before.0.contains_key(symbol));
    let dropped = saved - merged.len();
    let earlier = merged.0.keys().filter(|symbol| !changes.0.contains_key(*symbol)).count();
    merged.0.extend(changes.0.clone());
    write(&path, &merged)?;
    Ok(Saved { changed: changes.len() + dropped, settings: merged.len(), kept: earlier, path })
}

fn write(path: &Path, settings: &Settings) -> Result<(), Io> {
    if settings.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Io::on("remove", path)(error)),
            _ => Ok(()),
        };
    }
    super::stamp::replace(path, &settings.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_that_edit_are_known() {
        for (goal, edited) in [
            ("menuconfig", Some(Editable::Buildroot)),
            ("config", Some(Editable::Buildroot)),
            ("linux-menuconfig", Some(Editable::Linux)),
            ("uboot-nconfig", Some(Editable::UBoot)),
            ("busybox-xconfig", Some(Editable::Busybox)),
            ("linux-rebuild", None),
            ("at91bootstrap3-menuconfig", None),
            ("savedefconfig", None),
            ("all", None),
        ] {
            assert_eq!(Editable::from_goal(goal), edited, "{goal}");
        }
    }

    #[test]
    fn edits_are_merged_and_what_is_gone_is_dropped() {
        let overrides = tempfile::tempdir().unwrap();
        let save = |before: &str, after: &str| {
            let (before, after) = (Settings::parse(before), Settings::parse(after));
            let saved = super::save(Editable::Linux, overrides.path(), &before, &after).unwrap();
            let text = fs::read_to_string(&saved.path).unwrap_or_default();
            (saved.changed, saved.settings, saved.kept, text)
        };
        assert_eq!(save("A=y\n", "A=y\n"), (0, 0, 0, String::new()));
        let first = "CONFIG_A=\"1 = 2\"\n# CONFIG_B is not set\nBR2_DEFCONFIG=\"x\"\n# comment\n";
        assert_eq!(
            save("CONFIG_B=y\n", first),
            (2, 2, 0, "CONFIG_A=\"1 = 2\"\n# CONFIG_B is not set\n".into())
        );
        // B is gone with what it depended on, C is new, A stays as it was saved.
        assert_eq!(
            save(first, "CONFIG_A=\"1 = 2\"\nCONFIG_C=m\n"),
            (2, 2, 1, "CONFIG_A=\"1 = 2\"\nCONFIG_C=m\n".into())
        );
        assert_eq!(save("CONFIG_A=y\nCONFIG_C=m\n", ""), (2, 0, 0, String::new()));
        assert!(!overrides.path().join("kernel/zz-linux-menuconfig-delta").exists());
    }
}
