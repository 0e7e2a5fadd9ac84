//! The order in which a medium is written, so that it never looks bootable before it is.

use serde::Serialize;

use super::careful::Fallback;
use super::grow::{Fitted, ResizePolicy};
use super::journal::Journal;
use super::run::Run;
use crate::bmap::Bmap;
use crate::error::Result;
use crate::event::Listener;
use crate::interrupt::Interrupt;
use crate::readback::{Damage, RegionRange};
use crate::source::Source;
use crate::storage::{Record, Target};

/// One run: see [`Commit::run`].
pub struct Commit<'a> {
    /// Target of everything.
    pub target: &'a dyn Target,
    /// True if the target is a medium that may hold an older table. An image file is fresh and is removed when
    /// the run fails.
    pub used: bool,
    /// Names for ranges, for messages about damage.
    pub regions: &'a [RegionRange],
    /// Receives the progress.
    pub listener: &'a dyn Listener,
    /// Options of the run.
    pub options: FlashOptions<'a>,
}

/// Options of a run. They do not change what the medium holds in the end.
#[derive(Clone, Copy, Default)]
pub struct FlashOptions<'a> {
    /// Number of times that ranges which were read back wrong are written again.
    pub retries: u32,
    /// Read first, and write only what differs.
    pub only_changed: bool,
    /// Find out first whether the medium is as large as it says, with markers that this seed makes others than those
    /// of earlier runs. Without it a medium that begins again behind its end is only noticed where that destroys what
    /// was written.
    pub probe: Option<u64>,
    /// Read everything a second time when all is written: some media answer right only once. It takes as long as the
    /// first time.
    pub second_pass: bool,
    /// Treatment of old bytes where the source writes nothing.
    pub unwritten: Unwritten,
    /// Remembers what is on the medium, for a run that goes on after an interruption.
    pub journal: Option<&'a Journal>,
    /// Parts that are made to fit a medium that is larger than the source.
    pub fit: ResizePolicy,
    /// Ends the run when it is raised before everything was read back. What makes the medium bootable is then
    /// written in moments, and to the end.
    pub interrupt: Option<&'a Interrupt>,
}

/// Treatment of old bytes where nothing is written, which nobody reads through a filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unwritten {
    /// They stay.
    #[default]
    Keep,
    /// They are discarded if the medium can do that, else they stay.
    Discard,
    /// They are discarded if the medium can do that and reads zeros afterwards, else they are overwritten with
    /// zeros.
    Zero,
}

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Record of the medium as it is now, all of it read back.
    pub record: Record,
    /// Bytes that were right before and not written.
    pub unchanged: u64,
    /// Bytes that an earlier run had written.
    pub resumed: u64,
    /// Ranges that had to be written more than once.
    pub rewritten: Vec<Rewritten>,
    /// Parts that were made to fit the medium.
    pub fitted: Fitted,
    /// Other way of writing that the medium needed, if it did.
    pub fallback: Option<Fallback>,
}

/// A range that was read back wrong at first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// Damage that was mended.
    #[serde(flatten)]
    pub damage: Damage,
    /// Number of times that it was written again until it was right.
    pub times: u32,
}

impl Commit<'_> {
    /// Wipes the old table, has `source` write everything but what makes the medium bootable, and marks in the places of
    /// that; syncs, reads all of it back from the medium, writes again what was wrong, and only when it is clean writes
    /// the critical bytes and reads them back too: first what lies behind sector 0, then sector 0. A failure leaves a
    /// medium without a partition table.
    ///
    /// The last writes could destroy what was read back before, where two addresses lead to one place. The marks
    /// show that: they go to the same addresses, differ from everything else, and are compared with the rest. Only
    /// places that had none, as those of a filesystem that grew, cost another reading of everything.
    ///
    /// ```
    /// use skiff_image::event::Silent;
    /// use skiff_image::flash::{Commit, FlashOptions};
    /// use skiff_image::storage::{Memory, Region, Target};
    ///
    /// # fn main() -> skiff_image::Result<()> {
    /// let target = Memory::new(64 << 20);
    /// let geometry = target.geometry();
    /// let commit =
    ///     Commit { target: &target, used: true, regions: &[], listener: &Silent, options: FlashOptions::default() };
    /// let done = commit.run(&|target: &dyn Target| {
    ///     let region = Region::new(target, "boot", 1 << 20, 4 << 20, "the end of the target");
    ///     region.write_at(b"first stage", 0)?;
    ///     Ok(skiff_image::table::mbr::encode(0x1234, &[], geometry)?)
    /// })?;
    /// assert_eq!(done.record.extents.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&self, source: &dyn Source) -> Result<Done> {
        Run::new(self).run(source)
    }

    /// Like [`Commit::run`]; also returns the block map, whose checksums are those of what was read back.
    pub fn run_mapped(&self, source: &dyn Source) -> Result<(Done, Bmap)> {
        Run::new(self).run_mapped(source)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::bmap::MappedRange;
    use crate::event::Silent;
    use crate::storage::Memory;
    use crate::table::TableBytes;

    #[test]
    fn a_map_has_the_sums_of_the_finished_image() {
        let memory = Memory::new(4 << 20);
        // In sector 0, in the first block beside bytes of the body, and far from both.
        let piece = |offset, bytes: &[u8]| TableBytes { name: "piece".into(), offset, bytes: bytes.to_vec() };
        let critical = [piece(440, &[1; 72]), piece(1024, &[2; 512]), piece(3 << 20, &[3; 5000])];
        let options = FlashOptions::default();
        let commit = Commit { target: &memory, used: false, regions: &[], listener: &Silent, options };
        let body = |target: &dyn Target| {
            target.write_at(&[4; 100], 2048)?;
            target.write_at(&[5; 9000], 1 << 20)?;
            target.zero(2 << 20, 4096)?;
            Ok(critical.to_vec())
        };
        let (done, map) = commit.run_mapped(&body).expect("runs");
        assert_eq!(done.record.extents.len(), 6);
        assert_eq!(map.mapped_len(), 4096 + 12_288 + 4096 + 8192);
        let bytes = memory.to_vec();
        for MappedRange { bytes: range, sha256 } in map.ranges {
            let expected = Sha256::digest(&bytes[range.start as usize..range.end as usize]);
            assert_eq!(sha256, Some(expected.into()), "{range:?}");
        }
    }
}
