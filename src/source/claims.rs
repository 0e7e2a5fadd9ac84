//! Claims of others about an image: its block map and its SHA-256.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::error::ImageError;
use super::glimpse::Glimpse;
use super::objection::{self, Comparison, Overrides};
use crate::bmap::{Bmap, parse_sha256};
use crate::error::Result;
use crate::value::to_hex;

/// A SHA-256 in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256Sum(pub [u8; 32]);

/// A text is no SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 of 64 hexadecimal digits")]
pub struct ParseSha256Error(String);

impl FromStr for Sha256Sum {
    type Err = ParseSha256Error;

    fn from_str(text: &str) -> std::result::Result<Sha256Sum, ParseSha256Error> {
        parse_sha256(text).map(Sha256Sum).ok_or_else(|| ParseSha256Error(text.into()))
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// A SHA-256 and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Of the file, stream or download as it is.
    Given(Sha256Sum),
    /// Of the image that is packed in it.
    Decoded(Sha256Sum),
}

/// Claims about an image, and what unpacking it may cost.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    /// Name of the image in messages.
    pub name: String,
    pub bmap: Option<Bmap>,
    pub sha256: Option<Expected>,
    /// Bytes of memory that its decoder may take.
    pub memory: u64,
    /// Objections to the image that do not matter.
    pub overrides: Overrides,
}

impl Claims {
    /// Claims of nobody but the user.
    pub(super) fn new(name: String, bmap: Option<Bmap>, sha256: Option<Expected>, memory: u64) -> Claims {
        Claims { name, bmap, sha256, memory, overrides: Overrides::new() }
    }

    /// Holds the claims against what is known of the image, for a medium with sectors of `sector_size` bytes.
    ///
    /// # Errors
    /// One of them does not hold, and nobody overrides that.
    pub(super) fn compare(&self, image: &Glimpse, sector_size: u32) -> Result<Comparison> {
        let comparison = objection::compare(image, self, sector_size)?;
        match comparison.clone().into_refusal(&self.overrides) {
            Some(objection) => Err(ImageError::Refused { image: self.name.clone(), objection }.into()),
            None => Ok(comparison),
        }
    }

    /// The bytes that matter of an image of `len` bytes, in order.
    pub(super) fn mapped(&self, len: u64) -> Vec<Range<u64>> {
        match &self.bmap {
            Some(bmap) => bmap.ranges.iter().map(|range| range.bytes.clone()).collect(),
            None => vec![Range { start: 0, end: len }],
        }
    }

    /// Returns whether somebody vouches for where the image ends.
    pub(super) fn tell_the_end(&self) -> bool {
        self.bmap.is_some() || self.sha256.is_some()
    }

    /// Fails if the image has another length than its block map says, or none.
    pub(super) fn ensure_len(&self, found: u64) -> std::result::Result<(), ImageError> {
        let image = self.name.clone();
        match &self.bmap {
            _ if found == 0 => Err(ImageError::Empty(image)),
            Some(bmap) if bmap.image_len != found => {
                Err(ImageError::OtherLength { image, expected: bmap.image_len, found })
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the hash of what was given must be computed.
    pub(super) fn wants_given(&self) -> bool {
        matches!(self.sha256, Some(Expected::Given(_)))
    }

    /// Returns whether the hash of what was unpacked must be computed.
    pub(super) fn wants_decoded(&self) -> bool {
        matches!(self.sha256, Some(Expected::Decoded(_)))
    }

    pub(super) fn ensure_given(&self, found: Option<[u8; 32]>) -> std::result::Result<(), ImageError> {
        match (self.sha256, found) {
            (Some(Expected::Given(expected)), Some(found)) => self.ensure_equal(expected, found, false),
            _ => Ok(()),
        }
    }

    pub(super) fn ensure_decoded(&self, found: Option<[u8; 32]>) -> std::result::Result<(), ImageError> {
        match (self.sha256, found) {
            (Some(Expected::Decoded(expected)), Some(found)) => self.ensure_equal(expected, found, true),
            _ => Ok(()),
        }
    }

    fn ensure_equal(
        &self,
        expected: Sha256Sum,
        found: [u8; 32],
        decoded: bool,
    ) -> std::result::Result<(), ImageError> {
        if expected.0 == found {
            return Ok(());
        }
        let (image, expected, found) = (self.name.clone(), expected.to_string(), to_hex(&found));
        Err(ImageError::Hash { image, decoded, expected, found })
    }
}
