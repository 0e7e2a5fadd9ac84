//! A medium that is not there, as a text: `memory,size=8GiB` or `faulty:flip,seed=7,size=64MiB,times=1`.
//!
//! | kind | what the medium does | options besides `size`, `sector`, `file` and `seed` |
//! |---|---|---|
//! | `wrap` | begins again at its start behind its real size | `real` (half of the size) |
//! | `short` | forgets what is written behind its real size | `real`, `with` (the byte that is read there, 0) |
//! | `flip` | has wrong bits | `at`, `times`, `bits` (1) |
//! | `drop` | acknowledges a write and does not do it | `at`, `times` |
//! | `torn` | does a part of a write | `at`, `times` |
//! | `misplace` | writes to another place | `at`, `times`, `by` (8 MiB) |
//! | `stuck` | keeps what a place has | `at`, `times`, `with` (the byte it has) |
//! | `unstable` | reads other bits each time | `at`, `times` |
//! | `eio-read`, `eio-write` | answers with an I/O error | `at`, `times` |
//! | `stall` | hangs | `at`, `times` (1), `for` (seconds, 30) |
//! | `vanish` | is gone | `at` |
//! | `full` | has no space left | `at` |
//! | `slow` | takes its time | `write` (bytes of a second, 20 MB), `read` (80 MB) |
//!
//! `at` is the byte of the medium that is bad, and of `vanish` and `full` how many bytes are written before. Without
//! it `seed` (0) chooses a byte among the first MiB that is written; a kind with nothing to choose takes it too, so that
//! one list of options is for all. `times` is how often it happens; without it,
//! always. Sizes have units; `size` is 8 GiB without one. `file` keeps the medium in a file, which is not shortened.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::store::Store;
use super::{Fault, FaultKind, FaultLocation, Faulty, Strikes, Tear, mix};
use crate::error::{Diagnostic, Io};
use crate::storage::Target;
use crate::value::{ByteSize, ParseByteSizeError, nearest};

/// Bytes of a medium without `size`.
const SIZE: u64 = 8 << 30;
/// Among so many written bytes a seed chooses: every image has more.
const CHOICE: u64 = 1 << 20;
/// Settings of every simulation.
const COMMON: [&str; 3] = ["size", "sector", "file"];
/// Settings of a fault in one place.
const LOCAL: [&str; 2] = ["at", "times"];
/// Setting of every fault.
const SEED: &str = "seed";

/// Kinds of faults with their own options.
const KINDS: [(&str, &[&str]); 14] = [
    ("wrap", &["real"]),
    ("short", &["real", "with"]),
    ("flip", &["at", "times", "bits"]),
    ("drop", &LOCAL),
    ("torn", &LOCAL),
    ("misplace", &["at", "times", "by"]),
    ("stuck", &["at", "times", "with"]),
    ("unstable", &LOCAL),
    ("eio-read", &LOCAL),
    ("eio-write", &LOCAL),
    ("stall", &["at", "times", "for"]),
    ("vanish", &["at"]),
    ("full", &["at"]),
    ("slow", &["write", "read"]),
];

/// A medium that is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    text: String,
    /// Of [`KINDS`]; none is a sound medium.
    kind: Option<&'static str>,
    options: Options,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Options {
    size: Option<u64>,
    sector: Option<u32>,
    file: Option<PathBuf>,
    real: Option<u64>,
    seed: u64,
    at: Option<u64>,
    times: Option<u64>,
    bits: Option<u64>,
    by: Option<u64>,
    with: Option<u8>,
    seconds: Option<Duration>,
    write: Option<u64>,
    read: Option<u64>,
}

/// Reason why a medium cannot be simulated.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum SimulationError {
    /// Neither sound nor faulty.
    #[error("`{0}` is not a simulation: expected `memory` or `faulty:KIND`")]
    #[diagnostic(hint = "for example `faulty:flip,seed=1,size=1GiB`")]
    Word(String),
    /// Nothing of that name goes wrong.
    #[error("there is no fault `{found}`; there are {}", names())]
    #[diagnostic(suggestion = nearest(found, KINDS.iter().map(|(name, _)| *name)))]
    Kind {
        /// The given value.
        found: String,
    },
    /// An option that is not one.
    #[error("`{of}` has no option `{found}`; it has {}", known.join(", "))]
    #[diagnostic(suggestion = nearest(found, known.iter().copied()))]
    Option {
        /// The kind.
        of: &'static str,
        /// The given value.
        found: String,
        /// The values that there are.
        known: Vec<&'static str>,
    },
    /// A value that is not one.
    #[error("`{value}` is not a value of `{option}`: expected {expected}")]
    Value {
        /// The option.
        option: String,
        /// The given value.
        value: String,
        /// The values that are possible.
        expected: &'static str,
    },
    /// A size that is not one.
    #[error("`{option}`: {source}")]
    Size {
        /// The option.
        option: String,
        /// The mistake.
        source: ParseByteSizeError,
    },
    /// The medium is not smaller than it says.
    #[error("the real size, {}, is not below that of the medium, {}", ByteSize(*real), ByteSize(*size))]
    #[diagnostic(kind = Fit, hint = "give a smaller `real` or a larger `size`")]
    Real {
        /// The given value.
        real: u64,
        /// Bytes of the medium.
        size: u64,
    },
    /// The file has another length.
    #[error("`{}` has {} but `size` is {}", path.display(), ByteSize(*found), ByteSize(*wanted))]
    #[diagnostic(kind = Fit, hint = "leave out `size`, or give a file that is not there yet")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that it has.
        found: u64,
        /// Bytes that were asked for.
        wanted: u64,
    },
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

fn names() -> String {
    KINDS.map(|(name, _)| name).join(", ")
}

impl FromStr for Simulation {
    type Err = SimulationError;

    fn from_str(text: &str) -> Result<Simulation, SimulationError> {
        let mut parts = text.split(',');
        let word = parts.next().unwrap_or_default();
        let (kind, own) = match (word, word.strip_prefix("faulty:")) {
            ("memory", _) => (None, [].as_slice()),
            (_, Some(found)) => {
                let known = KINDS.iter().find(|(name, _)| *name == found);
                let (name, own) = known.ok_or_else(|| SimulationError::Kind { found: found.into() })?;
                (Some(*name), *own)
            }
            _ => return Err(SimulationError::Word(word.into())),
        };
        let seed = kind.map(|_| SEED);
        let known: Vec<&'static str> = COMMON.iter().chain(&seed).chain(own).copied().collect();
        let mut options = Options::default();
        for part in parts {
            let (option, value) = part.split_once('=').unwrap_or((part, ""));
            if !known.contains(&option) {
                let of = kind.unwrap_or("memory");
                return Err(SimulationError::Option { of, found: option.into(), known });
            }
            options.set(option, value)?;
        }
        Ok(Simulation { text: text.into(), kind, options })
    }
}

impl std::fmt::Display for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text)
    }
}

impl Options {
    fn set(&mut self, option: &str, value: &str) -> Result<(), SimulationError> {
        let size = || match value.parse::<ByteSize>() {
            Ok(ByteSize(bytes)) => Ok(Some(bytes)),
            Err(source) => Err(SimulationError::Size { option: option.into(), source }),
        };
        let number = |expected| match value.parse::<u64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(wrong(option, value, expected)),
        };
        match option {
            "size" => self.size = some(size()?, option, value)?,
            "real" => self.real = some(size()?, option, value)?,
            "at" => self.at = size()?,
            "by" => self.by = some(size()?, option, value)?,
            "write" => self.write = some(size()?, option, value)?,
            "read" => self.read = some(size()?, option, value)?,
            SEED => self.seed = number("a number")?.unwrap_or_default(),
            "times" => self.times = number("a number")?,
            "bits" => self.bits = number("a number")?,
            "with" => self.with = Some(byte(option, value)?),
            "for" => self.seconds = Some(seconds(option, value)?),
            "sector" => self.sector = Some(sector(option, value)?),
            _ => self.file = Some(value.into()),
        }
        Ok(())
    }
}

fn wrong(option: &str, value: &str, expected: &'static str) -> SimulationError {
    SimulationError::Value { option: option.into(), value: value.into(), expected }
}

/// Nothing can be so small.
fn some(size: Option<u64>, option: &str, value: &str) -> Result<Option<u64>, SimulationError> {
    match size {
        Some(0) => Err(wrong(option, value, "more than nothing")),
        size => Ok(size),
    }
}

fn byte(option: &str, value: &str) -> Result<u8, SimulationError> {
    let parsed = match value.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    };
    parsed.ok_or_else(|| wrong(option, value, "a byte, for example 0xff"))
}

fn seconds(option: &str, value: &str) -> Result<Duration, SimulationError> {
    let parsed = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.ok_or_else(|| wrong(option, value, "seconds, for example 2.5"))
}

fn sector(option: &str, value: &str) -> Result<u32, SimulationError> {
    match value {
        "512" => Ok(512),
        "4096" => Ok(4096),
        _ => Err(wrong(option, value, "512 or 4096")),
    }
}

impl Simulation {
    /// The medium; it is gone when it is dropped, unless it is a file.
    pub fn open(&self) -> Result<Box<dyn Target>, SimulationError> {
        Ok(self.open_watched()?.0)
    }

    /// The medium, and the counter of its fault's effects; none for a sound one.
    pub fn open_watched(&self) -> Result<(Box<dyn Target>, Option<Strikes>), SimulationError> {
        let store = self.store()?;
        let len = store.geometry().len;
        Ok(match self.fault(len, store.geometry().sector_size)? {
            None => (Box::new(store), None),
            Some(fault) => {
                let faulty = Faulty::new(store, fault);
                let strikes = faulty.strikes();
                (Box::new(faulty), Some(strikes))
            }
        })
    }

    fn store(&self) -> Result<Store, SimulationError> {
        let Options { size, sector, file, .. } = &self.options;
        let (len, sector) = (size.unwrap_or(SIZE), sector.unwrap_or(512));
        let Some(path) = file else { return Ok(Store::in_memory(len, sector)?) };
        let store = Store::in_file(path, len, sector)?;
        match (store.geometry().len, *size) {
            (found, Some(wanted)) if found != wanted => {
                Err(SimulationError::Length { path: path.clone(), found, wanted })
            }
            _ => Ok(store),
        }
    }

    /// The fault of a medium of `len` bytes.
    fn fault(&self, len: u64, sector: u32) -> Result<Option<Fault>, SimulationError> {
        let options = &self.options;
        let Some(kind) = self.kind else { return Ok(None) };
        let after = options.at.unwrap_or(mix(options.seed) % CHOICE);
        Ok(Some(match kind {
            "wrap" => Fault::Wrap { size: self.real(len)? },
            "short" => Fault::Short { size: self.real(len)?, reads: options.with.unwrap_or(0) },
            "slow" => Fault::Slow {
                write: options.write.unwrap_or(20_000_000),
                read: options.read.unwrap_or(80_000_000),
            },
            "vanish" => Fault::Vanish { after },
            "full" => Fault::Full { after },
            _ => Fault::Local {
                location: match options.at {
                    Some(at) => FaultLocation::At { offset: at, len: sector.into() },
                    None => FaultLocation::Written(after),
                },
                kind: self.local(kind),
                times: options.times.unwrap_or(if kind == "stall" { 1 } else { u64::MAX }),
            },
        }))
    }

    fn real(&self, len: u64) -> Result<u64, SimulationError> {
        let real = self.options.real.unwrap_or(len / 2);
        match real > 0 && real < len {
            true => Ok(real),
            false => Err(SimulationError::Real { real, size: len }),
        }
    }

    /// The fault in one place.
    fn local(&self, kind: &str) -> FaultKind {
        let options = &self.options;
        let number = mix(!options.seed);
        match kind {
            "flip" => FaultKind::Flip { bit: number, bits: options.bits.unwrap_or(1) },
            "drop" => FaultKind::Lose,
            "torn" if number.is_multiple_of(2) => FaultKind::Tear(Tear::Prefix),
            "torn" => FaultKind::Tear(Tear::Subset(number)),
            "misplace" => FaultKind::Misplace { by: options.by.unwrap_or(8 << 20) },
            "stuck" => FaultKind::Stick(options.with),
            "unstable" => FaultKind::Unstable,
            "eio-read" => FaultKind::ReadError,
            "eio-write" => FaultKind::WriteError,
            "stall" => FaultKind::Stall(options.seconds.unwrap_or(Duration::from_secs(30))),
            _ => unreachable!("`{kind}` is a kind in one place"),
        }
    }
}
