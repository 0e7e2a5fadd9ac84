//! Comparison of claims: what an image says about itself, by its table, its filesystems and its first bytes, what others
//! say about it, and what the medium is. Files and streams are compared here, and nowhere else.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::claims::Claims;
use super::glimpse::Glimpse;
use super::pieces::ENDS;
use crate::error::ErrorKind;
use crate::recognize::file;
use crate::recognize::outline::{HEAD, Outline, Short, Shortfall};
use crate::storage::{Target as _, TargetError};
use crate::table::{CopyState, Scheme, Table};
use crate::value::{ByteSize, is_zero};

/// Longest backup of a GPT that anybody makes: 128 entries and a header, in sectors of 4096.
const BACKUP: u64 = 5 * 4096;
/// Zeros that a block map leaves out are looked for in pieces of this length.
const PIECE: u64 = 512;

/// Reason against writing an image that a person may know better about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// A file of another kind.
    #[error("it is not a raw disk image (found: {0})")]
    NotRaw(&'static str),
    /// Its end is missing.
    #[error("it has {}, but {}", ByteSize(*len), list(missing))]
    CutOff {
        /// Bytes it has.
        len: u64,
        /// Missing parts.
        missing: Vec<Shortfall>,
    },
    /// The block map leaves out all of it.
    #[error("its block map lists no block, so that nothing would be written")]
    NoBlocks,
    /// The block map leaves out bytes without which the medium is not usable.
    #[error("its block map leaves out bytes {}..{}, which are not zero, in {what}", bytes.start, bytes.end)]
    Unmapped {
        /// The first of them.
        bytes: Range<u64>,
        /// Their place.
        what: String,
    },
    /// Made for a medium with other sectors.
    #[error("its table counts in sectors of {table} bytes, and those of the medium have {medium}")]
    Sectors {
        /// Bytes of a sector in the table.
        table: u32,
        /// Bytes of a sector of the medium.
        medium: u32,
    },
    /// Its table contradicts itself.
    #[error("{0}")]
    Table(String),
}

fn list(missing: &[Shortfall]) -> String {
    missing.iter().map(Shortfall::to_string).collect::<Vec<_>>().join(" and ")
}

/// Kind of an [`Objection`], by which it is overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Override {
    /// [`Objection::NotRaw`].
    NotRaw,
    /// [`Objection::CutOff`].
    CutOff,
    /// [`Objection::NoBlocks`] and [`Objection::Unmapped`].
    BlockMap,
    /// [`Objection::Sectors`].
    Sectors,
    /// [`Objection::Table`].
    Table,
}

/// Objections that a person overrides.
pub type Overrides = BTreeSet<Override>;

/// A word that is none of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no objection to an image is called `{0}`")]
pub struct ParseOverrideError(String);

impl Override {
    /// All of them.
    pub const ALL: [Override; 5] =
        [Override::NotRaw, Override::CutOff, Override::BlockMap, Override::Sectors, Override::Table];

    /// As it is given.
    pub fn word(self) -> &'static str {
        match self {
            Override::NotRaw => "not-raw",
            Override::CutOff => "cut-off",
            Override::BlockMap => "block-map",
            Override::Sectors => "sectors",
            Override::Table => "damaged-table",
        }
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Override {
    type Err = ParseOverrideError;

    fn from_str(text: &str) -> Result<Override, ParseOverrideError> {
        let found = Override::ALL.into_iter().find(|word| word.word() == text);
        found.ok_or_else(|| ParseOverrideError(text.into()))
    }
}

impl Objection {
    /// The one that overrides it.
    pub fn overridden_by(&self) -> Override {
        match self {
            Objection::NotRaw(_) => Override::NotRaw,
            Objection::CutOff { .. } => Override::CutOff,
            Objection::NoBlocks | Objection::Unmapped { .. } => Override::BlockMap,
            Objection::Sectors { .. } => Override::Sectors,
            Objection::Table(_) => Override::Table,
        }
    }

    /// Whose fault it is.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Objection::NotRaw(_) => ErrorKind::Refused,
            Objection::CutOff { .. } | Objection::Table(_) => ErrorKind::Corrupt,
            Objection::NoBlocks | Objection::Unmapped { .. } => ErrorKind::Input,
            Objection::Sectors { .. } => ErrorKind::Fit,
        }
    }

    /// Advice for the user.
    pub(super) fn hint(&self) -> String {
        match self {
            Objection::NotRaw(_) => "give the disk image itself: unpack or convert what was given".into(),
            Objection::CutOff { .. } => "get the image again: a download or copy of it stopped early".into(),
            Objection::NoBlocks | Objection::Unmapped { .. } => {
                "give the .bmap file that was made with the image, or move it away".into()
            }
            Objection::Sectors { medium, .. } => format!("build the image for sectors of {medium} bytes"),
            Objection::Table(_) => {
                "get the image again; `sgdisk --verify` and `gdisk` look at its table and mend it".into()
            }
        }
    }
}

/// Result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Objections, the most serious first.
    pub objections: Vec<Objection>,
    /// Remarks for a person that are no reason not to write the image.
    pub remarks: Vec<String>,
}

impl Comparison {
    /// Returns the first objection that is not overridden.
    pub fn into_refusal(self, overrides: &Overrides) -> Option<Objection> {
        self.objections.into_iter().find(|objection| !overrides.contains(&objection.overridden_by()))
    }
}

/// Compares what is known of an image with what is said of it; `medium` is the bytes of a sector of what it is for.
pub(super) fn compare(image: &Glimpse, claims: &Claims, medium: u32) -> Result<Comparison, TargetError> {
    let outline = Outline::read(image.disk())?;
    let mut objections = Vec::new();
    objections.extend(format(image, &outline)?.map(Objection::NotRaw));
    objections.extend(table(image, &outline).map(Objection::Table));
    objections.extend(image.len().and_then(|len| cut_off(image, &outline, len)));
    objections.extend(block_map(image, claims, &outline)?);
    let sectors = outline.sector_size.filter(|table| *table != medium);
    objections.extend(sectors.map(|table| Objection::Sectors { table, medium }));
    Ok(Comparison { objections, remarks: remarks(image, &outline, medium) })
}

/// Format of an image that is none of a disk or a partition.
fn format(image: &Glimpse, outline: &Outline) -> Result<Option<&'static str>, TargetError> {
    let has_partitions = outline.table.as_ref().is_some_and(|table| !table.partitions.is_empty());
    let begins_filesystem = outline.parts.iter().any(|part| part.number == 0 && part.filesystem.is_some());
    if !has_partitions && !begins_filesystem && !outline.gpt_is_lost {
        let mut head = vec![0; image.disk().geometry().len.min(HEAD) as usize];
        image.disk().read_at(&mut head, 0)?;
        if let Some(name) = file::by_head(&head) {
            return Ok(Some(name));
        }
    }
    if image.is_whole() { file::by_footer(image.disk()) } else { Ok(None) }
}

/// Damage of a table that others than this program do not mend.
fn table(image: &Glimpse, outline: &Outline) -> Option<String> {
    match (&outline.table, image.is_whole()) {
        (Some(Table { scheme: Scheme::Gpt { primary: CopyState::Damaged(reason), .. }, .. }), true) => {
            Some(format!("the primary copy of its GPT {reason}; only the backup copy at its end is good"))
        }
        (_, true) if outline.gpt_is_lost => {
            Some("its MBR says that it has a GPT, and neither copy of that can be read".into())
        }
        // The backup comes with the last bytes.
        (_, false) if outline.gpt_is_lost => {
            Some("its MBR says that it has a GPT, and the primary copy of that cannot be read".into())
        }
        _ => None,
    }
}

/// Objection to an image with parts that end behind it. A partition may hold a filesystem that does not, which its
/// first bytes say when they come: before that only one that begins behind the image is missing for sure.
fn cut_off(image: &Glimpse, outline: &Outline, len: u64) -> Option<Objection> {
    let begins_inside =
        |number: u32| outline.parts.iter().any(|part| part.number == number && part.range.start < len);
    let is_sure = |short: &Shortfall| match short.part {
        Short::Partition { number } => image.is_whole() || !begins_inside(number),
        Short::Filesystem { .. } | Short::Backup => true,
    };
    let missing: Vec<Shortfall> = outline.shortfalls(len).into_iter().filter(is_sure).collect();
    (!missing.is_empty()).then_some(Objection::CutOff { len, missing })
}

/// Bytes that are not zero and that the block map leaves out, where tables, boot code and filesystems begin.
fn block_map(image: &Glimpse, claims: &Claims, outline: &Outline) -> Result<Option<Objection>, TargetError> {
    let Some(bmap) = &claims.bmap else { return Ok(None) };
    if bmap.ranges.is_empty() {
        return Ok(Some(Objection::NoBlocks));
    }
    for (what, spot) in spots(outline) {
        let spot = spot.start..spot.end.min(bmap.image_len);
        for gap in bmap.gaps(spot) {
            if let Some(bytes) = not_zero(image, &gap)? {
                return Ok(Some(Objection::Unmapped { bytes, what }));
            }
        }
    }
    Ok(None)
}

/// Ranges of an image, and what is there.
fn spots(outline: &Outline) -> Vec<(String, Range<u64>)> {
    let mut spots = vec![("the partition table or boot code".to_owned(), 0..ENDS)];
    let filesystems = outline.parts.iter().filter(|part| part.filesystem.is_some());
    spots.extend(filesystems.map(|part| {
        let end = part.range.end.min(part.range.start.saturating_add(HEAD));
        (format!("the start of partition {}", part.number), part.range.start..end)
    }));
    if let Some(Table { scheme: Scheme::Gpt { .. }, disk_len, .. }) = &outline.table {
        let backup = disk_len.saturating_sub(BACKUP)..*disk_len;
        spots.push(("the backup copy of the GPT".into(), backup));
    }
    spots
}

/// The first piece of a range that is not zero.
fn not_zero(image: &Glimpse, range: &Range<u64>) -> Result<Option<Range<u64>>, TargetError> {
    let end = range.end.min(image.disk().geometry().len);
    let mut at = range.start;
    while at < end {
        let piece = at..end.min((at / PIECE + 1) * PIECE);
        let mut bytes = [0; PIECE as usize];
        let bytes = &mut bytes[..(piece.end - piece.start) as usize];
        image.disk().read_at(bytes, piece.start)?;
        if !is_zero(bytes) {
            return Ok(Some(piece));
        }
        at = piece.end;
    }
    Ok(None)
}

fn remarks(image: &Glimpse, outline: &Outline, medium: u32) -> Vec<String> {
    let mut remarks = Vec::new();
    for part in image.len().iter().flat_map(|len| outline.roomy(*len)) {
        let (number, end) = (part.number, ByteSize(part.range.end));
        let filesystem = part.filesystem.map_or("", skiff_signatures::Format::name);
        remarks.push(format!(
            "partition {number} ends at {end}, behind the image, which has all of the {filesystem} filesystem in it"
        ));
    }
    for part in outline.cramped() {
        let (number, has) = (part.number, ByteSize(part.range.end - part.range.start));
        let says = ByteSize(part.len.unwrap_or_default());
        remarks
            .push(format!("partition {number} has {has}, but the filesystem in it says that it has {says}"));
    }
    match &outline.table {
        Some(Table { scheme: Scheme::Gpt { primary: CopyState::Good, backup, .. }, disk_len, .. }) => {
            let is_there = image.is_whole() && image.len().is_some_and(|len| len >= *disk_len);
            if let (true, CopyState::Damaged(reason)) = (is_there, backup) {
                remarks.push(format!("the backup copy of the GPT of the image {reason}"));
            }
        }
        Some(table)
            if medium != 512
                && image.is_whole()
                && outline.sector_size.is_none()
                && !table.partitions.is_empty() =>
        {
            remarks.push(format!(
                "nothing in the image shows whether its MBR counts in sectors of 512 or of 4096 bytes; those of the medium \
                 have {medium}"
            ));
        }
        _ => {}
    }
    remarks
}
