//! The statement: what a bundle is, and the text that is signed.
//!
//! ```text
//! skiff-update statement 1
//! board odroid/xu                  one line for each board that it is for
//! arch arm
//! loader uboot-fat                 one line for each way of starting slots that it is for
//! version 2026.11
//! sequence 17                      rises from release to release
//! epoch 1                          root whose keys sign it
//! agent 1                          version of the agent that it needs
//! roots 0 af13...                  bytes and BLAKE3 digest of the list of roots in the bundle
//! index 4096 77ab...               the same of the index
//! file kernel 8388608 01cd...      name in the slot, bytes, digest of its contents
//! ```
//!
//! Files are named, not placed: a device knows by itself where the files of its slots are.

use std::fmt;

use skiff_disk::error::Diagnostic;
use skiff_disk::value::{Arch, Digest};

use crate::state::SystemId;
use crate::text::{Lines, TextError, parse_number};

/// Namespace of signatures of a statement.
pub const STATEMENT_NAMESPACE: &str = "skiff-update-statement";
/// Version of this agent: the highest `agent` of a statement that it can apply.
pub const AGENT: u64 = 1;
/// Most bytes of a statement.
pub const LEN_MAX: usize = 16 << 10;
/// Most files of a system.
pub const FILES_MAX: usize = 32;
/// Most bytes of the index: 200,000 blocks, which a device keeps in memory.
pub const INDEX_MAX: u64 = 4 << 20;
/// Most bytes of the list of roots.
pub const ROOTS_MAX: u64 = 1 << 20;
/// Most bytes of a system. The sum of its files cannot wrap.
pub const SYSTEM_MAX: u64 = 1 << 40;

const FIRST_LINE: &str = "skiff-update statement 1";
const BOARDS_MAX: usize = 64;
const LOADERS_MAX: usize = 8;
const WORD_MAX: usize = 64;

/// Bytes and digest of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Bytes.
    pub len: u64,
    /// BLAKE3 digest.
    pub blake3: Digest,
}

/// A file of a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Name in the slot: lower-case letters, digits, `.`, `_` and `-`, not beginning with a dot.
    pub name: String,
    /// Its contents.
    pub sum: Sum,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Boards that the system is for.
    pub boards: Vec<String>,
    /// Architecture of the processor.
    pub arch: Arch,
    /// Ways of starting slots that the system is made for.
    pub loaders: Vec<String>,
    /// Version for people.
    pub version: String,
    /// Number that rises from release to release.
    pub sequence: u64,
    /// Root whose keys sign.
    pub epoch: u64,
    /// Version of the agent that is needed.
    pub agent: u64,
    /// List of roots in the bundle.
    pub roots: Sum,
    /// Index of the blocks.
    pub index: Sum,
    /// Files of the system.
    pub files: Vec<File>,
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Name of its board.
    pub board: String,
    /// Its architecture.
    pub arch: Arch,
    /// Way in which its slots are started.
    pub loader: String,
    /// Names of the files that its loader starts and mounts.
    pub files: Vec<String>,
}

/// Why a statement is not for a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Refused)]
pub enum FitError {
    /// It is for another board.
    #[error("the bundle is for the boards {}, this is `{board}`", list(boards))]
    #[diagnostic(hint = "make a bundle for `{board}`", code = "wrong-board")]
    Board {
        /// Boards of the bundle.
        boards: Vec<String>,
        /// This board.
        board: String,
    },
    /// It is for another architecture.
    #[error("the bundle is for `{found}`, this is `{have}`")]
    #[diagnostic(hint = "make a bundle for `{have}`", code = "wrong-arch")]
    Arch {
        /// Architecture of the bundle.
        found: Arch,
        /// This one.
        have: Arch,
    },
    /// It is for another way of starting.
    #[error("the bundle is for systems that are started by {}, this one is started by `{have}`", list(found))]
    #[diagnostic(hint = "make a bundle for `{have}`, or write the medium anew", code = "wrong-loader")]
    Loader {
        /// Ways of the bundle.
        found: Vec<String>,
        /// Way of the device.
        have: String,
    },
    /// It is older than what was confirmed.
    #[error("the bundle has sequence {found} (version `{version}`), this device takes {floor} and higher")]
    #[diagnostic(
        hint = "make a bundle with a higher sequence: going back is not an update",
        code = "old-sequence"
    )]
    Sequence {
        /// Sequence of the bundle.
        found: u64,
        /// Version of the bundle.
        version: String,
        /// Highest sequence that was confirmed.
        floor: u64,
    },
    /// It was made for other keys.
    #[error("the bundle was made for root {found}, this device has root {have}")]
    #[diagnostic(
        hint = "make the bundle for root {have}, or with the roots up to root {found}",
        code = "wrong-epoch"
    )]
    Epoch {
        /// Epoch of the statement.
        found: u64,
        /// Epoch of the root that counts.
        have: u64,
    },
    /// It needs another agent.
    #[error("the bundle needs version {need} of the agent, this is version {AGENT}")]
    #[diagnostic(
        hint = "update with a bundle that an agent of version {AGENT} can apply first",
        code = "old-agent"
    )]
    Agent {
        /// Version that is needed.
        need: u64,
    },
    /// It has other files.
    #[error("the bundle has the files {}, this device starts {}", list(found), list(have))]
    #[diagnostic(hint = "make the bundle from an image for this board", code = "wrong-files")]
    Files {
        /// Files of the bundle.
        found: Vec<String>,
        /// Files of the device.
        have: Vec<String>,
    },
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Statement {
    /// Reads the text of a statement.
    pub fn parse(text: &[u8]) -> Result<Statement, TextError> {
        let mut lines = Lines::new(text, LEN_MAX, FIRST_LINE)?;
        let boards = lines.many("board", (1, BOARDS_MAX), "the name of a board", board, String::eq)?;
        let arch = |text: &str| Arch::ALL.into_iter().find(|arch| arch.name() == text);
        let arch = lines.one("arch", "an architecture", arch)?;
        let loaders =
            lines.many("loader", (1, LOADERS_MAX), "the name of a way of starting", name, String::eq)?;
        let version = lines.one("version", "1 to 64 characters without spaces at the ends", version)?;
        let mut number = |word| lines.one(word, "a number", parse_number);
        let (sequence, epoch, agent) = (number("sequence")?, number("epoch")?, number("agent")?);
        let roots = lines.one("roots", "bytes (up to 1 MiB) and digest", |text| sum(text, ROOTS_MAX))?;
        let index = lines.one("index", "bytes (up to 4 MiB) and digest", |text| sum(text, INDEX_MAX))?;
        let files = lines.many(
            "file",
            (1, FILES_MAX),
            "a name, bytes (up to 32 GiB) and digest",
            file,
            |one, other| one.name == other.name,
        )?;
        lines.end()?;
        Ok(Statement { boards, arch, loaders, version, sequence, epoch, agent, roots, index, files })
    }

    /// Text that is signed.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        text.extend(self.boards.iter().map(|board| format!("board {board}\n")));
        text += &format!("arch {}\n", self.arch);
        text.extend(self.loaders.iter().map(|loader| format!("loader {loader}\n")));
        text += &format!("version {}\nsequence {}\n", self.version, self.sequence);
        text += &format!("epoch {}\nagent {}\n", self.epoch, self.agent);
        text += &format!("roots {}\nindex {}\n", self.roots, self.index);
        text.extend(self.files.iter().map(|file| format!("file {} {}\n", file.name, file.sum)));
        text
    }

    /// Bytes of all files.
    pub fn len(&self) -> u64 {
        self.files.iter().map(|file| file.sum.len).sum()
    }

    /// Returns whether all files are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fails unless the system is for this device.
    pub fn check_machine(&self, machine: &Machine) -> Result<(), FitError> {
        if self.agent > AGENT {
            return Err(FitError::Agent { need: self.agent });
        }
        if !self.boards.contains(&machine.board) {
            return Err(FitError::Board { boards: self.boards.clone(), board: machine.board.clone() });
        }
        if self.arch != machine.arch {
            return Err(FitError::Arch { found: self.arch, have: machine.arch });
        }
        if !self.loaders.contains(&machine.loader) {
            return Err(FitError::Loader { found: self.loaders.clone(), have: machine.loader.clone() });
        }
        let mut found: Vec<String> = self.files.iter().map(|file| file.name.clone()).collect();
        let mut have = machine.files.clone();
        found.sort_unstable();
        have.sort_unstable();
        if found == have { Ok(()) } else { Err(FitError::Files { found, have }) }
    }

    /// Fails if the system is older than `floor`.
    pub fn check_sequence(&self, floor: u64) -> Result<(), FitError> {
        let (found, version) = (self.sequence, self.version.clone());
        if found < floor { Err(FitError::Sequence { found, version, floor }) } else { Ok(()) }
    }
}

/// Id of the system that a statement is about.
pub fn system_id(statement: &[u8]) -> SystemId {
    let mut id = [0; 8];
    id.copy_from_slice(&blake3::hash(statement).as_bytes()[..8]);
    SystemId(id)
}

impl Sum {
    /// Sum of these bytes.
    pub fn of(bytes: &[u8]) -> Sum {
        Sum { len: bytes.len() as u64, blake3: Digest::of(bytes) }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.len, self.blake3)
    }
}

fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}

/// Returns whether a file of a system can have this name: small letters, digits, `.`, `_` and `-`.
pub fn is_file_name(text: &str) -> bool {
    (1..=WORD_MAX).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_name_byte)
}

fn name(text: &str) -> Option<String> {
    is_file_name(text).then(|| text.to_owned())
}

fn board(text: &str) -> Option<String> {
    let fits = text.len() <= WORD_MAX && text.split('/').all(|part| name(part).is_some());
    fits.then(|| text.to_owned())
}

fn version(text: &str) -> Option<String> {
    ((1..=WORD_MAX).contains(&text.len()) && text.trim() == text).then(|| text.to_owned())
}

fn sum(text: &str, max: u64) -> Option<Sum> {
    let (len, digest) = text.split_once(' ')?;
    let len = parse_number(len).filter(|len| *len <= max)?;
    let blake3: Digest = digest.parse().ok()?;
    (blake3.to_string() == digest).then_some(Sum { len, blake3 })
}

fn file(text: &str) -> Option<File> {
    let (text, rest) = text.split_once(' ')?;
    Some(File { name: name(text)?, sum: sum(rest, SYSTEM_MAX / FILES_MAX as u64)? })
}

#[cfg(test)]
mod tests;
