//! Bytes that nothing was written to: in an image file they are zero, on a device they hold whatever was there.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::readback::RegionRange;
use crate::storage::{AlignedBuffer, ReadOnly, Record, Target, TargetError};
use crate::value::{ByteSize, is_zero};

/// Bytes that are read at once.
const CHUNK: u64 = 1 << 20;
/// Bytes that are looked at apart.
const BLOCK: u64 = 4096;

/// Bytes of an image file to which nothing was written, and that are not zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stray {
    /// Region that they are in; none between regions and behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// First byte, of a block of 4 KiB.
    pub offset: u64,
    /// Bytes of the blocks.
    pub len: u64,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from byte {}", ByteSize(self.len), self.offset)?;
        match &self.region {
            Some(region) => write!(f, ", in free space of `{region}`"),
            None => f.write_str(", in no region"),
        }
    }
}

/// Looks for what is not zero of `image` where `record` has nothing. `target` is `image` with what guards it. Holes of
/// the file are not read.
pub(super) fn strays(
    image: &ReadOnly,
    target: &dyn Target,
    record: &Record,
    regions: &[RegionRange],
) -> Result<Vec<Stray>, TargetError> {
    let mut strays: Vec<Stray> = Vec::new();
    let mut buffer = AlignedBuffer::new(CHUNK as usize);
    for gap in record.gaps(0..image.geometry().len) {
        for data in image.data(gap)? {
            look(target, data, &mut buffer, |block| push(&mut strays, block, regions))?;
        }
    }
    Ok(strays)
}

/// Calls `found` for each block that is not zero.
fn look(
    target: &dyn Target,
    range: Range<u64>,
    buffer: &mut AlignedBuffer,
    mut found: impl FnMut(Range<u64>),
) -> Result<(), TargetError> {
    let mut at = range.start;
    while at < range.end {
        let end = ((at / CHUNK + 1) * CHUNK).min(range.end);
        let bytes = buffer.slice((end - at) as usize);
        target.read_back(bytes, at)?;
        let mut start = at;
        while start < end {
            let next = ((start / BLOCK + 1) * BLOCK).min(end);
            if !is_zero(&bytes[(start - at) as usize..(next - at) as usize]) {
                found(start..next);
            }
            start = next;
        }
        at = end;
    }
    Ok(())
}

/// Joins a block with what ends where it begins.
fn push(strays: &mut Vec<Stray>, block: Range<u64>, regions: &[RegionRange]) {
    let region = regions.iter().find(|region| region.range.contains(&block.start));
    let region = region.map(|region| region.name.clone());
    match strays.last_mut() {
        Some(last) if last.offset + last.len == block.start && last.region == region => {
            last.len = block.end - last.offset;
        }
        _ => strays.push(Stray { region, offset: block.start, len: block.end - block.start }),
    }
}
