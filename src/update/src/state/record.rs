//! The record: one sector of 512 bytes, in the form of a U-Boot environment.
//!
//! ```text
//! 0      CRC-32 of all that follows, little-endian
//! 4 or 5 name=value, each ended by a zero byte; another zero byte ends the list; zeros fill the sector
//! ```
//!
//! `env import -c` and `env export -c` of U-Boot (`cmd/nvedit.c`, `lib/hashtable.c`), `mkenvimage` and `fw_printenv`
//! read and write it, so a loader can check the sum before it trusts a copy. A U-Boot that is built for two copies of
//! its own environment has one more byte, a flag, behind the CRC; [`Form`] says which form a device has, and both are
//! read. Names are in the order in which `env export` sorts them, so that a loader and the agent make the same bytes.
//! A variable without a value does not exist in U-Boot, and is left out here.

use std::fmt;

use skiff_disk::error::Diagnostic;

use super::{ATTEMPTS, REJECTED_MAX, State, SystemId, Trial};
use crate::Slot;

/// Bytes of a record: a sector.
pub const LEN: usize = 512;

/// Names of the variables, in the order of the record.
pub const NAMES: [&str; 7] = [REJECTED, CHANGES, FLOOR, GOOD, LEFT, SYSTEM, TRY];

const REJECTED: &str = "skiff_bad";
const CHANGES: &str = "skiff_changes";
const FLOOR: &str = "skiff_floor";
const GOOD: &str = "skiff_good";
const LEFT: &str = "skiff_left";
const SYSTEM: &str = "skiff_system";
const TRY: &str = "skiff_try";

/// Whether a flag stands behind the CRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The list begins behind the CRC.
    #[default]
    Plain,
    /// A byte 1 (`ENV_REDUND_ACTIVE`) is between them: a U-Boot with `CONFIG_ENV_REDUNDANT`, which was called
    /// `CONFIG_SYS_REDUNDAND_ENVIRONMENT` until 2025.
    Flagged,
}

impl Form {
    const fn start(self) -> usize {
        match self {
            Form::Plain => 4,
            Form::Flagged => 5,
        }
    }
}

/// Why 512 bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "the other copy is used; the next change writes both", code = "bad-record")]
pub enum RecordError {
    /// The sum is another one.
    #[error("its CRC-32 is {found:08x}, not {stated:08x} as it states")]
    Checksum {
        /// Sum in the record.
        stated: u32,
        /// Sum of the bytes.
        found: u32,
    },
    /// The list has no end.
    #[error("its list of variables does not end within {LEN} bytes")]
    Unended,
    /// Something is no variable.
    #[error("`{text}` is not of the form `name=value`")]
    NotAVariable {
        /// Printable form of the bytes.
        text: String,
    },
    /// A name is there twice.
    #[error("`{name}` is there twice")]
    Twice {
        /// The name.
        name: &'static str,
    },
    /// A name is missing.
    #[error("`{name}` is missing")]
    Missing {
        /// The name.
        name: &'static str,
    },
    /// A value has another form.
    #[error("`{name}` is `{value}`, not {expected}")]
    Value {
        /// The name.
        name: &'static str,
        /// Its value.
        value: String,
        /// Form that it must have.
        expected: &'static str,
    },
}

/// The record of a state.
pub fn encode(state: &State, form: Form) -> [u8; LEN] {
    let mut record = [0; LEN];
    let mut at = form.start();
    let rejected: Vec<String> = state.rejected.iter().map(SystemId::to_string).collect();
    let trial = |value: fn(&Trial) -> String| state.trial.as_ref().map(value);
    let values = [
        (!rejected.is_empty()).then(|| rejected.join(",")),
        Some(state.changes.to_string()),
        Some(state.floor.to_string()),
        Some(state.good.to_string()),
        trial(|trial| trial.left.to_string()),
        trial(|trial| trial.system.to_string()),
        trial(|trial| trial.slot.to_string()),
    ];
    for (name, value) in NAMES.iter().zip(values) {
        // The longest list has 300 bytes, see `the_longest_state_fits`.
        for part in value.iter().flat_map(|value| [name, "=", value.as_str(), "\0"]) {
            record[at..at + part.len()].copy_from_slice(part.as_bytes());
            at += part.len();
        }
    }
    if form == Form::Flagged {
        record[4] = 1;
    }
    let crc = crc32fast::hash(&record[form.start()..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    record
}

/// The state that a record says, and the form of the record. Variables with other names are left to their owner.
pub fn decode(record: &[u8; LEN]) -> Result<(State, Form), RecordError> {
    let stated = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    let sum = |form: &Form| crc32fast::hash(&record[form.start()..]);
    let form = [Form::Plain, Form::Flagged].into_iter().find(|form| sum(form) == stated);
    let form = form.ok_or_else(|| RecordError::Checksum { stated, found: sum(&Form::Plain) })?;
    let variables = Variables::parse(&record[form.start()..])?;
    Ok((state(&variables)?, form))
}

fn state(variables: &Variables) -> Result<State, RecordError> {
    let slot = |name| variables.parse_value(name, "`a` or `b`", |text| text.parse::<Slot>().ok());
    let good = variables.need(slot, GOOD)?;
    let number = |name| variables.parse_value(name, "a number", |text| parse_number(text, u64::MAX));
    let changes = variables.need(
        |name| variables.parse_value(name, "a number of 32 bits", |text| parse_number(text, u32::MAX.into())),
        CHANGES,
    )?;
    let floor = variables.need(number, FLOOR)?;
    let trial = trial(variables, good, slot)?;
    let rejected = variables.parse_value(REJECTED, "up to 8 ids of 16 digits with commas", parse_ids)?;
    Ok(State { changes: changes as u32, good, trial, floor, rejected: rejected.unwrap_or_default() })
}

fn trial(
    variables: &Variables,
    good: Slot,
    slot: impl Fn(&'static str) -> Result<Option<Slot>, RecordError>,
) -> Result<Option<Trial>, RecordError> {
    let Some(slot) = slot(TRY)? else { return Ok(None) };
    if slot == good {
        let value = slot.to_string();
        return Err(RecordError::Value { name: TRY, value, expected: "the slot that is not the good one" });
    }
    let left = |name| {
        variables.parse_value(name, "a number from 0 to 3", |text| parse_number(text, ATTEMPTS.into()))
    };
    let left = variables.need(left, LEFT)? as u8;
    let id = |name| variables.parse_value(name, "an id of 16 hexadecimal digits", SystemId::from_hex);
    let system = variables.need(id, SYSTEM)?;
    Ok(Some(Trial { slot, left, system }))
}

/// A number in the only form that is written: digits without leading zeros.
fn parse_number(text: &str, max: u64) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number <= max && number.to_string() == text).then_some(number)
}

fn parse_ids(text: &str) -> Option<Vec<SystemId>> {
    let ids: Option<Vec<SystemId>> = text.split(',').map(SystemId::from_hex).collect();
    ids.filter(|ids| ids.len() <= REJECTED_MAX)
}

/// The variables of [`NAMES`] that a record has.
struct Variables([Option<String>; NAMES.len()]);

impl Variables {
    fn parse(list: &[u8]) -> Result<Variables, RecordError> {
        let mut variables = Variables(Default::default());
        let mut rest = list;
        loop {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(RecordError::Unended)?;
            if end == 0 {
                return Ok(variables);
            }
            variables.add(&rest[..end])?;
            rest = &rest[end + 1..];
        }
    }

    fn add(&mut self, variable: &[u8]) -> Result<(), RecordError> {
        let text = String::from_utf8_lossy(variable);
        let Some((name, value)) = text.split_once('=') else {
            return Err(RecordError::NotAVariable { text: text.escape_default().to_string() });
        };
        let Some(index) = NAMES.iter().position(|known| *known == name) else { return Ok(()) };
        if self.0[index].is_some() {
            return Err(RecordError::Twice { name: NAMES[index] });
        }
        self.0[index] = Some(value.to_owned());
        Ok(())
    }

    fn parse_value<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, RecordError> {
        let index = NAMES.iter().position(|known| *known == name);
        let Some(value) = index.and_then(|index| self.0[index].as_deref()) else { return Ok(None) };
        let wrong = || {
            let value = value.escape_default().to_string();
            RecordError::Value { name, value, expected }
        };
        parse(value).map(Some).ok_or_else(wrong)
    }

    fn need<T>(
        &self,
        read: impl Fn(&'static str) -> Result<Option<T>, RecordError>,
        name: &'static str,
    ) -> Result<T, RecordError> {
        read(name)?.ok_or(RecordError::Missing { name })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Plain => "plain",
            Form::Flagged => "flagged",
        })
    }
}
