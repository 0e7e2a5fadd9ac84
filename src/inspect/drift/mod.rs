//! Compares a medium that was used with the manifest of what was written, and keeps apart what use changes and what is
//! damage.
//!
//! Bytes that are as written need no explanation. Those that are not are looked at as what they are: a table may have
//! been fitted to the disk, a filesystem that was mounted has other times, counters and free space, and its user has
//! added files. What was written into files of the system must be there still, whatever else happened.

mod kind;

use std::collections::BTreeSet;

pub use kind::{Drift, RegionDrift};

use super::Section;
use super::damage::{
    DamagedFile, DamagedRegion, Verdict, damaged_region, ensure_long_enough, files_of, record_of,
    region_range, section, unseen,
};
use super::metadata::{self, Findings};
use crate::error::Result;
use crate::event::{Event, Listener, Phase};
use crate::fs::{Problem, ext4, fat};
use crate::manifest::{Identity, Manifest, Owner, RegionEntry};
use crate::readback::{self, Damage, RegionRange};
use crate::storage::{Extent, ReadOnly, Target};
use crate::table::{self, CopyState, Scheme, Table, TableBytes};
use crate::value::{Digest, is_zero};

/// Number of added files that are named.
const NAMED: usize = 3;
/// Features that the kernel sets or drops in use: of a journal, and when it grows a filesystem further than descriptors
/// were reserved for.
const FEATURES_OF_USE: [&str; 5] =
    ["has_journal", "needs_recovery", "orphan_present", "meta_bg", "resize_inode"];

/// Reads what the manifest knows of from `medium`, past the page cache, but for what belongs to the user, and separates
/// what use changes and what is damage.
pub fn verify_used(
    medium: &ReadOnly,
    target: &dyn Target,
    manifest: &Manifest,
    listener: &dyn Listener,
) -> Result<Verdict> {
    ensure_long_enough(medium, manifest)?;
    let record = record_of(manifest.regions.iter().filter(|region| region.owner == Owner::System));
    let ranges: Vec<RegionRange> = manifest.regions.iter().map(region_range).collect();
    listener.event(Event::Phase { phase: Phase::Verify, total: Some(record.len()) });
    let damage = readback::verify(target, &record, &ranges, listener)?;
    let mut used =
        Used { medium, manifest, table: table::read(medium)?, damaged: Vec::new(), drift: Vec::new() };
    let fitted = match damage.iter().any(|damage| used.is_of_table(damage)) {
        true => used.fitted_table()?,
        false => Vec::new(),
    };
    for region in &manifest.regions {
        let hit = damage.iter().filter(|damage| damage.region.as_deref() == Some(&region.name));
        let hit: Vec<Damage> = hit.cloned().collect();
        match region.kind.as_str() {
            "table" if fitted.contains(&region.name) => {}
            "fat16" | "fat32" | "ext4" => used.filesystem(region, hit)?,
            _ if hit.is_empty() => {}
            _ => used.damaged.push(damaged_region(medium, manifest, region, hit)),
        }
    }
    let Used { damaged, drift, .. } = used;
    let users = manifest.regions.iter().filter(|region| region.owner == Owner::User);
    let users = users.map(|region| region.name.clone()).collect();
    let (target, compared, unseen) = (medium.name().into(), record.len(), unseen(medium, &record));
    Ok(Verdict { target, compared, damaged, strays: Vec::new(), unseen, drift, users })
}

/// A comparison on its way.
struct Used<'a> {
    medium: &'a ReadOnly,
    manifest: &'a Manifest,
    /// As it is now.
    table: Option<Table>,
    damaged: Vec<DamagedRegion>,
    drift: Vec<RegionDrift>,
}

/// Findings of a look at a filesystem.
#[derive(Default)]
struct Look {
    drift: Vec<Drift>,
    problems: Vec<String>,
    files: Vec<DamagedFile>,
}

impl Used<'_> {
    fn drift(&mut self, region: &RegionEntry, drift: Drift) {
        self.drift.push(RegionDrift { name: region.name.clone(), kind: region.kind.clone(), drift });
    }

    fn is_of_table(&self, damage: &Damage) -> bool {
        let is_table =
            |region: &&RegionEntry| region.kind == "table" && damage.region.as_ref() == Some(&region.name);
        self.manifest.regions.iter().any(|region| is_table(&region))
    }

    /// The regions of the table that are what was written but for what fitting it to the disk changes. If all of the table
    /// is, that is reported; if not, there are none.
    fn fitted_table(&mut self) -> Result<Vec<String>> {
        let Some(table) = self.table.clone() else { return Ok(Vec::new()) };
        let (last, manifest) = (table.last(), self.manifest);
        let same_start = |region: &&RegionEntry| last.is_some_and(|last| last.start == region.offset);
        let partition = manifest.regions.iter().filter(|region| is_partition(region)).find(same_start);
        let old_len = partition.map(|region| region.len);
        let written = table::unfit(self.medium, &table, manifest.disk_len, old_len)?;
        let tables: Vec<&RegionEntry> =
            manifest.regions.iter().filter(|region| region.kind == "table").collect();
        let as_written = tables
            .iter()
            .flat_map(|region| &region.extents)
            .all(|extent| holds(&written, extent) != Some(false));
        let sector = u64::from(table.sector_size);
        let end = self.medium.geometry().len / sector * sector;
        // The primary copy says where the other one is, whatever is left of that.
        let was_moved = table.disk_len == end && end != manifest.disk_len;
        let backup_at = match &table.scheme {
            Scheme::Gpt { backup: CopyState::Good, .. } => Some(end),
            Scheme::Gpt { backup: CopyState::Damaged(_), .. } if was_moved => Some(end),
            Scheme::Gpt { .. } => None,
            Scheme::Mbr { .. } => Some(manifest.disk_len),
        };
        let (true, Some(end)) = (as_written && !written.is_empty(), backup_at) else { return Ok(Vec::new()) };
        self.damaged_backup(&table)?;
        if end != manifest.disk_len
            && let Some(region) = tables.last()
        {
            self.drift(region, Drift::BackupMoved);
        }
        if let (Some(region), Some(last)) = (partition, last)
            && region.len != last.len
        {
            self.drift(region, Drift::PartitionResized { from: region.len, to: last.len });
        }
        let is_known =
            |region: &&&RegionEntry| region.extents.iter().all(|extent| holds(&written, extent).is_some());
        Ok(tables.iter().filter(is_known).map(|region| region.name.clone()).collect())
    }

    /// Finds what is wrong with the backup of a GPT that was moved to the end of the medium.
    fn damaged_backup(&mut self, table: &Table) -> Result<()> {
        let Scheme::Gpt { backup: CopyState::Damaged(reason), .. } = &table.scheme else { return Ok(()) };
        let Ok(fitted) = table::fit(self.medium, table, None)? else { return Ok(()) };
        for piece in fitted.pieces.iter().filter(|piece| piece.name.starts_with("gpt backup")) {
            let (offset, len) = (piece.offset, piece.bytes.len() as u64);
            let mut found = vec![0; piece.bytes.len()];
            self.medium.read_back(&mut found, offset)?;
            if found == piece.bytes {
                continue;
            }
            let (expected, found) = (Some(Digest::of(&piece.bytes)), Some(Digest::of(&found)));
            let region = Some(piece.name.clone());
            let ranges = vec![Damage { region, offset, len, expected, found, diagnosis: None }];
            let problems = vec![format!("the backup copy of the GPT, at the end of the medium, {reason}")];
            let (name, kind) = (piece.name.clone(), "table".into());
            self.damaged.push(DamagedRegion {
                name,
                kind,
                ranges,
                files: Vec::new(),
                problems,
                unreadable: None,
            });
        }
        Ok(())
    }

    /// Bytes of the partition that `region` is now.
    fn len_now(&self, region: &RegionEntry) -> u64 {
        match &self.table {
            Some(table) => table
                .partitions
                .iter()
                .find(|partition| partition.start == region.offset)
                .map_or(region.len, |partition| partition.len),
            None => self.medium.geometry().len - region.offset,
        }
    }

    fn filesystem(&mut self, region: &RegionEntry, hit: Vec<Damage>) -> Result<()> {
        let is_users = region.owner == Owner::User;
        if hit.is_empty() && !is_users {
            return Ok(());
        }
        let section = section(self.medium, region.offset, self.len_now(region));
        let (look, unreadable) = match self.look(section, region) {
            Ok(look) => (look, None),
            Err(error) => (Look::default(), Some(error.to_string())),
        };
        let Look { drift, problems, files } = look;
        if !problems.is_empty() || !files.is_empty() || unreadable.is_some() {
            let (name, kind) = (region.name.clone(), region.kind.clone());
            self.damaged.push(DamagedRegion { name, kind, ranges: hit, files, problems, unreadable });
        } else if !hit.is_empty() {
            self.drift(region, Drift::Tables { within: hit.iter().map(|damage| damage.len).sum() });
        }
        drift.into_iter().for_each(|drift| self.drift(region, drift));
        Ok(())
    }

    fn look(&self, section: Section, region: &RegionEntry) -> Result<Look> {
        let mut look = match region.kind.as_str() {
            "ext4" => look_at_ext4(section, region)?,
            _ => look_at_fat(section, region)?,
        };
        if region.owner == Owner::System {
            let Findings { problems, files } = match region.kind.as_str() {
                "ext4" => metadata::of_ext4(self.medium, region, self.len_now(region)),
                _ => metadata::of_fat(
                    super::damage::section(self.medium, region.offset, self.len_now(region)),
                    region,
                )?,
            };
            look.problems.extend(problems);
            look.files.extend(files);
            let section = super::damage::section(self.medium, region.offset, self.len_now(region));
            for file in files_of(section, self.manifest, region)? {
                match allowed(region, &file) {
                    Some(drift) => look.drift.push(drift),
                    None => look.files.push(file),
                }
            }
        }
        Ok(look)
    }
}

fn is_partition(region: &RegionEntry) -> bool {
    !matches!(region.kind.as_str(), "table" | "blob")
}

/// Returns whether `pieces` have the bytes that were written as `extent`; none where they have nothing there.
fn holds(pieces: &[TableBytes], extent: &Extent) -> Option<bool> {
    let range = extent.range();
    let bytes = pieces.iter().find_map(|piece| {
        let start = usize::try_from(range.start.checked_sub(piece.offset)?).ok()?;
        piece.bytes.get(start..start + extent.len as usize)
    })?;
    Some(match &extent.blake3 {
        Some(digest) => Digest::of(bytes) == *digest,
        None => is_zero(bytes),
    })
}

/// Returns the drift of a file that its user may change or remove.
fn allowed(region: &RegionEntry, file: &DamagedFile) -> Option<Drift> {
    let path = &file.damage.path;
    let is_kept = region.files.iter().any(|entry| entry.keep && entry.file.path == *path);
    match file.damage.problem {
        Problem::Missing if is_kept => Some(Drift::FileRemoved { path: path.clone() }),
        Problem::Content | Problem::Size { .. } if is_kept => Some(Drift::FileChanged { path: path.clone() }),
        _ => None,
    }
}

fn look_at_ext4(section: Section, region: &RegionEntry) -> Result<Look> {
    let reader = ext4::Reader::open(section, 0)?;
    reader.check_root()?;
    let summary = reader.summary();
    let mut look = Look::default();
    look.identity(region.identity.as_ref(), &summary.label, &summary.uuid.to_string());
    look.features(&summary.features);
    if summary.features.iter().any(|feature| feature == "needs_recovery") {
        look.drift.push(Drift::NotUnmounted);
    }
    if summary.len.0 > region.len {
        look.drift.push(Drift::FilesystemGrown { from: region.len, to: summary.len.0 });
    }
    if region.owner == Owner::System {
        look.added(region, reader.file_paths()?);
    }
    Ok(look)
}

fn look_at_fat(section: Section, region: &RegionEntry) -> Result<Look> {
    let volume = fat::Volume::from_reader(&region.name, section)?;
    let summary = volume.summary()?;
    let id = format!("{:04X}-{:04X}", summary.volume_id >> 16, summary.volume_id & 0xffff);
    let mut look = Look::default();
    look.identity(region.identity.as_ref(), &summary.label, &id);
    if volume.is_dirty()? {
        look.drift.push(Drift::NotUnmounted);
    }
    if region.owner == Owner::System {
        look.added(region, volume.file_paths()?);
    }
    Ok(look)
}

impl Look {
    /// Boards find their partitions by these.
    fn identity(&mut self, written: Option<&Identity>, label: &str, id: &str) {
        let Some(written) = written else { return };
        if written.label != label {
            self.problems.push(format!("its label is `{label}` instead of `{}`", written.label));
        }
        if !written.id.eq_ignore_ascii_case(id) {
            self.problems.push(format!("its id is {id} instead of {}", written.id));
        }
    }

    /// Features that a boot loader or kernel must know to read it.
    fn features(&mut self, found: &[String]) {
        let of_use = |feature: &str| FEATURES_OF_USE.contains(&feature);
        let lost = ext4::FEATURES
            .into_iter()
            .filter(|name| !of_use(name) && !found.iter().any(|found| found == name));
        let lost: Vec<&str> = lost.collect();
        let new = found.iter().filter(|name| !of_use(name) && !ext4::FEATURES.contains(&name.as_str()));
        let new: Vec<&str> = new.map(String::as_str).collect();
        if !lost.is_empty() {
            self.problems.push(format!("it has lost the features {}", lost.join(", ")));
        }
        if !new.is_empty() {
            self.problems.push(format!("it has features that were not written: {}", new.join(", ")));
        }
    }

    /// Files that were not written.
    fn added(&mut self, region: &RegionEntry, found: Vec<String>) {
        let written: BTreeSet<&str> = region.files.iter().map(|entry| entry.file.path.as_str()).collect();
        let added: Vec<String> = found.into_iter().filter(|path| !written.contains(path.as_str())).collect();
        if !added.is_empty() {
            let count = added.len();
            self.drift.push(Drift::FilesAdded { count, first: added.into_iter().take(NAMED).collect() });
        }
    }
}
