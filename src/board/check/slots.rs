//! Media with two slots: which parts of a descriptor they have.

use skiff_update::statement::is_file_name;

use super::Checker;
use crate::board::slots::{RawSlots, name_in_slot};
use crate::board::{Board, BoardError, ContentSource, Filesystem, InSlots, SlotLoader, Slots};

impl Checker<'_> {
    /// The ways of having slots, each with all that a medium has that is made in this way.
    pub(super) fn slots(&self, board: &Board, raw: Vec<RawSlots>) -> Result<Vec<Slots>, BoardError> {
        self.ensure_slots_are_meant(board, raw.is_empty())?;
        raw.into_iter().map(|raw| self.slots_of(board, raw)).collect()
    }

    /// A key that nothing heeds would be ignored in silence.
    fn ensure_slots_are_meant(&self, board: &Board, none: bool) -> Result<(), BoardError> {
        for artifact in &board.artifacts {
            let place = || format!("artifact `{}`", artifact.name);
            let inside = artifact.recipe.files().iter().map(|file| file.slots);
            if inside.chain([artifact.slots]).any(|slots| slots == InSlots::System) {
                return Err(
                    self.invalid(place(), "slots = \"system\" means nothing but for files of partitions")
                );
            }
            if none && artifact.slots != InSlots::Always {
                return Err(self.invalid(place(), "`slots` means nothing without `[[slots]]`"));
            }
        }
        for partition in &board.partitions {
            let place = || format!("partition `{}`", partition.name);
            if none && partition.files.iter().any(|file| file.slots != InSlots::Always) {
                return Err(self.invalid(place(), "`slots` means nothing without `[[slots]]`"));
            }
            let one = |source: &ContentSource| match source {
                ContentSource::Images(names) => !names.iter().any(|name| name.contains('*')),
                ContentSource::Artifact(_) => true,
                _ => false,
            };
            let several =
                partition.files.iter().find(|file| file.slots == InSlots::System && !one(&file.from));
            if let Some(file) = several {
                let problem =
                    format!("`{}` cannot be a file of a system: that is one image or artifact", file.to);
                return Err(self.invalid(place(), problem));
            }
            let mut of_system = partition.files.iter().filter(|file| file.slots == InSlots::System);
            if let Some(file) = of_system.find(|file| !is_file_name(name_in_slot(file))) {
                let problem = format!(
                    "`{}` is no name in a slot: small letters, digits, `.`, `_` and `-`; say another as `slot-name`",
                    name_in_slot(file)
                );
                return Err(self.invalid(place(), problem));
            }
        }
        Ok(())
    }

    fn slots_of(&self, board: &Board, raw: RawSlots) -> Result<Slots, BoardError> {
        let RawSlots { arch, loader, state, mounted } = raw;
        let place = format!("slots `{loader}`");
        let found = board.partitions.iter().find(|partition| partition.name == state);
        let fat = found.is_some_and(|partition| {
            matches!(partition.filesystem, Filesystem::Fat16 { .. } | Filesystem::Fat32 { .. })
        });
        if loader == SlotLoader::UbootFat && !fat {
            let problem = format!("the state record is on `{state}`, which is no FAT partition of the board");
            return Err(self.invalid(place, problem));
        }
        for partition in &board.partitions {
            let used =
                partition.name == state || partition.files.iter().any(|file| file.slots == InSlots::System);
            if used && !mounted.contains_key(&partition.name) {
                let problem = format!("`mounted` does not say where partition `{}` is", partition.name);
                return Err(self.invalid(place, problem));
            }
        }
        let (artifacts, partitions) = (board.artifacts.clone(), board.partitions.clone());
        let mut slots = Slots { arch, loader, state, mounted, artifacts, partitions };
        slots.arrange();
        Ok(slots)
    }
}
