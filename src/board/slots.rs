//! Two systems on one medium: slots `a` and `b`, directories on the partitions that a board has anyway.
//!
//! A descriptor says which files are those of a system, what else is there on a medium with slots, and what the boot
//! loader is that counts the starts of a system on trial. Without `--slots` nothing of it is on the medium.

use std::collections::BTreeMap;
use std::fmt;

use super::{Artifact, Board, ContentSource, FilePlacement, Partition};
use crate::error::Diagnostic;
use crate::value::{Arch, ForArch};

/// Directory of the slots and of the state record, on each partition that has files of a system.
pub const SLOTS: &str = "/skiff";

/// Names of the two copies of the state record.
pub const STATES: [&str; 2] = ["state1", "state2"];

/// Whether something is on a medium with slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "in-slots")]
pub enum InSlots {
    /// On a medium with slots and on one without.
    #[default]
    Always,
    /// A file of the system: there is one in each slot.
    System,
    /// Only with slots.
    Only,
    /// Only without slots.
    Never,
}

/// Boot loader that starts one of two slots, and what it can write while it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "slot-loader")]
pub enum SlotLoader {
    /// U-Boot that overwrites two files of one sector on a FAT (`fatwrite`).
    UbootFat,
}

impl fmt::Display for SlotLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SlotLoader::UbootFat => "uboot-fat",
        })
    }
}

/// `[[slots]]`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "slots")]
pub struct RawSlots {
    /// Only for this architecture, or these.
    #[serde(default)]
    pub arch: ForArch,
    /// What reads and counts in the state record; bundles name it.
    pub loader: SlotLoader,
    /// Name of the partition with the state record, which the boot loader reads.
    pub state: String,
    /// Where the running system mounts the partitions that have files of a system, by their names.
    pub mounted: BTreeMap<String, String>,
}

/// A way of having two systems on a medium of a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Slots {
    /// Architectures that have it.
    pub arch: ForArch,
    /// Boot loader.
    pub loader: SlotLoader,
    /// Name of the partition with the state record.
    pub state: String,
    /// Place of partitions in the running system, by their names.
    pub mounted: BTreeMap<String, String>,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) partitions: Vec<Partition>,
}

/// Why a medium of a board has no slots.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("board `{board}` has no way of starting one of two systems on {arch}")]
#[diagnostic(
    kind = Unsupported,
    hint = "make a medium with one system, or give its descriptor `[[slots]]`, see boards/README.md",
    code = "no-slots"
)]
pub struct SlotsError {
    /// The board.
    pub board: String,
    /// Architecture of the system.
    pub arch: Arch,
}

impl Board {
    /// The board with the artifacts and files of a medium that has slots, and how that is done.
    pub fn with_slots(mut self, arch: Arch) -> Result<(Board, Slots), SlotsError> {
        let Some(slots) = self.slots.iter().find(|slots| slots.arch.covers(arch)).cloned() else {
            return Err(SlotsError { board: self.name, arch });
        };
        self.artifacts.clone_from(&slots.artifacts);
        self.partitions.clone_from(&slots.partitions);
        Ok((self, slots))
    }

    /// Takes out what only a medium with slots has.
    pub(super) fn leave_out_slots(&mut self) {
        self.artifacts.retain(|artifact| artifact.slots != InSlots::Only);
        for partition in &mut self.partitions {
            partition.files.retain(|file| file.slots != InSlots::Only);
        }
    }
}

impl Slots {
    /// Takes out what only a medium without slots has, moves the files of the system to slot `a`, and adds slot `b` and
    /// the state record.
    pub(super) fn arrange(&mut self) {
        self.artifacts.retain(|artifact| artifact.slots != InSlots::Never);
        for partition in &mut self.partitions {
            partition.files.retain(|file| file.slots != InSlots::Never);
            let has_slots = partition.files.iter().any(|file| file.slots == InSlots::System);
            for file in partition.files.iter_mut().filter(|file| file.slots == InSlots::System) {
                file.to = format!("{SLOTS}/a/{}", name_in_slot(file));
            }
            if has_slots {
                partition.files.push(added(ContentSource::Directory, format!("{SLOTS}/b")));
            }
            if partition.name == self.state {
                let state = |name| added(ContentSource::SlotState, format!("{SLOTS}/{name}"));
                partition.files.extend(STATES.map(state));
            }
        }
    }

    /// What `skiff-update` has to know about a device of `board`, whose names are filled in; see its
    /// `agent/config.rs`.
    pub fn config(&self, board: &Board, arch: Arch) -> String {
        let at = |partition: &str| format!("{}{SLOTS}", self.mounted[partition]);
        let slots = at(&self.state);
        let mut text = format!("board {}\narch {arch}\nloader {}\n", board.name, self.loader);
        for (number, name) in STATES.iter().enumerate() {
            text += &format!("state{} {slots}/{name}\n", number + 1);
        }
        text += &format!("slots {slots}\n");
        for partition in &board.partitions {
            let of_system = |file: &&FilePlacement| file.slots == InSlots::System && file.arch.covers(arch);
            for file in partition.files.iter().filter(of_system) {
                let elsewhere = at(&partition.name);
                let elsewhere = if elsewhere == slots { String::new() } else { format!(" {elsewhere}") };
                text += &format!("file {}{elsewhere}\n", base_name(&file.to));
            }
        }
        text + "root /etc/skiff/update.root\n"
    }
}

/// Name of a file of a system in its slot, and in statements.
pub(super) fn name_in_slot(file: &FilePlacement) -> &str {
    file.slot_name.as_deref().unwrap_or_else(|| base_name(&file.to))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn added(from: ContentSource, to: String) -> FilePlacement {
    FilePlacement {
        arch: ForArch::default(),
        slots: InSlots::Only,
        slot_name: None,
        from,
        to,
        mode: None,
        optional: false,
        keep: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{DescriptorSource, NoFamilies, Registry};

    #[test]
    fn a_medium_with_slots_has_the_files_of_a_system_in_one_of_them() {
        let board = Registry::built_in().board("virt/qemu").expect("a board");
        let (with, slots) = board.clone().with_slots(Arch::Arm64).expect("it has slots");
        let places = |board: &Board| -> Vec<String> {
            let files = board.partitions.iter().flat_map(|partition| &partition.files);
            files.map(|file| file.to.clone()).collect()
        };
        let (with, without) = (places(&with), places(&board));
        let in_slots = |place: &&String| place.starts_with("/skiff/");
        assert_eq!(without.iter().filter(in_slots).count(), 0);
        let expected = [
            "/skiff/a/kernel",
            "/skiff/a/rootfs.cpio.lz4",
            "/skiff/b",
            "/skiff/state1",
            "/skiff/state2",
            "/skiff/a/modules.squashfs",
            "/skiff/b",
        ];
        assert_eq!(with.iter().filter(in_slots).collect::<Vec<_>>(), expected);
        assert!(slots.arch.covers(Arch::Riscv64) && !slots.arch.covers(Arch::X86_64));
        let refused = board.with_slots(Arch::X86_64).unwrap_err().to_string();
        assert_eq!(refused, "board `virt/qemu` has no way of starting one of two systems on x86_64");
    }

    #[test]
    fn mistakes_are_named() {
        let text = include_str!("../../boards/virt/qemu.toml");
        let message = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            let text = text.replacen(from, to, 1);
            let source = DescriptorSource { file: "qemu.toml", text: &text };
            Board::parse("virt/qemu", source, &NoFamilies).unwrap_err().to_string()
        };
        assert_eq!(
            message("state = \"boot\"", "state = \"rootfs\""),
            "`qemu.toml`: slots `uboot-fat`: the state record is on `rootfs`, which is no FAT partition of the board"
        );
        assert_eq!(
            message(", rootfs = \"/mnt/rootfs\"", ""),
            "`qemu.toml`: slots `uboot-fat`: `mounted` does not say where partition `rootfs` is"
        );
        assert_eq!(
            message("{ tree = \"boot_part\"", "{ slots = \"system\", tree = \"boot_part\""),
            "`qemu.toml`: partition `boot`: `/` cannot be a file of a system: that is one image or artifact"
        );
        assert_eq!(
            message("name = \"modules.squashfs\"", "name = \"modules.squashfs\"\nslots = \"system\""),
            "`qemu.toml`: artifact `modules.squashfs`: slots = \"system\" means nothing but for files of partitions"
        );
    }
}
