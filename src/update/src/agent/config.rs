//! What a device says about itself, in `/etc/skiff/update.conf`:
//!
//! ```text
//! # A line is a word, a space and a value.
//! board virt/qemu
//! arch arm64
//! loader uboot-fat
//! state1 /mnt/boot/skiff/state1
//! state2 /mnt/boot/skiff/state2
//! slots /mnt/boot/skiff
//! file kernel
//! file rootfs.squashfs /mnt/persist/skiff
//! root /etc/skiff/update.root
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use skiff_disk::error::{Diagnostic, Io};
use skiff_disk::value::Arch;
use skiff_update::apply::Places;
use skiff_update::statement::Machine;

/// What a device says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) machine: Machine,
    pub(crate) places: Places,
    /// File of the root.
    pub(crate) root: PathBuf,
}

/// Why a device does not know what it is.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub(crate) enum ConfigError {
    #[error("{}, line {line}: `{word}` is no setting", path.display())]
    #[diagnostic(
        hint = "the settings are `board`, `arch`, `loader`, `state1`, `state2`, `slots`, `file` and `root`"
    )]
    Unknown { path: PathBuf, line: usize, word: String },
    #[error("{}, line {line}: `{word}` is there twice", path.display())]
    #[diagnostic(hint = "keep one of the two lines")]
    Twice { path: PathBuf, line: usize, word: String },
    #[error("{}, line {line}: `{word}` has no value", path.display())]
    #[diagnostic(hint = "a line is a word, a space and a value")]
    Empty { path: PathBuf, line: usize, word: String },
    #[error("{}: `{word}` is missing", path.display())]
    #[diagnostic(hint = "add a line `{word} VALUE`")]
    Missing { path: PathBuf, word: &'static str },
    #[error("{}: {reason}", path.display())]
    #[diagnostic(hint = "use arm, arm64, x86_64 or riscv64")]
    Arch { path: PathBuf, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

const WORDS: [&str; 7] = ["board", "arch", "loader", "state1", "state2", "slots", "root"];

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Config, ConfigError> {
        Config::parse(path, &fs::read_to_string(path).map_err(Io::on("read", path))?)
    }

    fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let mut values: [Option<&str>; WORDS.len()] = [None; WORDS.len()];
        let (mut files, mut elsewhere) = (Vec::new(), Vec::new());
        for (index, text) in text.lines().enumerate() {
            let (line, text) = (index + 1, text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (word, value) = text.split_once(' ').map_or((text, ""), |(word, value)| (word, value.trim()));
            let (path, owned) = (path.to_path_buf(), word.to_owned());
            if word != "file" && !WORDS.contains(&word) {
                return Err(ConfigError::Unknown { path, line, word: owned });
            }
            if value.is_empty() {
                return Err(ConfigError::Empty { path, line, word: owned });
            }
            let Some(place) = WORDS.iter().position(|known| *known == word) else {
                let (name, directory) =
                    value.split_once(' ').map_or((value, None), |(name, at)| (name, Some(at)));
                files.push(name.to_owned());
                elsewhere.extend(directory.map(|directory| (name.to_owned(), directory.trim().into())));
                continue;
            };
            if values[place].replace(value).is_some() {
                return Err(ConfigError::Twice { path, line, word: owned });
            }
        }
        let get = |word: &'static str| {
            let value = WORDS.iter().position(|known| *known == word).and_then(|place| values[place]);
            value.ok_or(ConfigError::Missing { path: path.into(), word })
        };
        if files.is_empty() {
            return Err(ConfigError::Missing { path: path.into(), word: "file" });
        }
        let arch = get("arch")?.parse::<Arch>();
        let arch =
            arch.map_err(|error| ConfigError::Arch { path: path.into(), reason: error.to_string() })?;
        Ok(Config {
            machine: Machine { board: get("board")?.into(), arch, loader: get("loader")?.into(), files },
            places: Places {
                state: [get("state1")?.into(), get("state2")?.into()],
                slots: get("slots")?.into(),
                elsewhere,
            },
            root: get("root")?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A device.\nboard virt/qemu\narch arm64\nloader uboot-fat\n\nstate1 /b/1\nstate2 /b/2\n\
                        slots /b\nfile kernel\nfile rootfs.squashfs /p\nroot /etc/root\n";

    #[test]
    fn settings_are_read() {
        let config = Config::parse(Path::new("c"), TEXT).expect("it is right");
        assert_eq!(config.machine.files, ["kernel", "rootfs.squashfs"]);
        assert_eq!(config.places.elsewhere, [("rootfs.squashfs".to_owned(), PathBuf::from("/p"))]);
        assert_eq!(config.places.state, [PathBuf::from("/b/1"), PathBuf::from("/b/2")]);
    }

    #[test]
    fn wrong_settings_are_named() {
        let message = |from: &str, to: &str| {
            assert!(TEXT.contains(from));
            Config::parse(Path::new("c"), &TEXT.replace(from, to)).unwrap_err().to_string()
        };
        assert_eq!(message("slots /b\n", ""), "c: `slots` is missing");
        assert_eq!(message("slots /b", "slot /b"), "c, line 8: `slot` is no setting");
        assert_eq!(message("slots /b", "slots"), "c, line 8: `slots` has no value");
        assert_eq!(message("slots /b", "board /b"), "c, line 8: `board` is there twice");
        assert_eq!(
            message("arch arm64", "arch mips"),
            "c: unknown architecture `mips`: use arm, arm64, x86_64 or riscv64"
        );
    }
}
