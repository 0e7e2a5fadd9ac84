//! Checks of files: what boot ROMs, boot loaders and boot texts look for is there.

use uuid::{Uuid, uuid};

use super::super::files::base_name;
use super::super::medium::{PlannedMedium, PlannedVolume};
use super::super::text::BootText;
use super::quoted;
use crate::board::PartitionSelector;
use crate::board::{TableKind, TextRules};

/// Bit 2 of a GPT entry's attributes: legacy BIOS bootable (UEFI 2.10, table 5.8).
const LEGACY_BIOS_BOOTABLE: u64 = 1 << 2;
/// An EFI system partition counts as bootable.
const EFI_SYSTEM: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");

pub fn placed(medium: &PlannedMedium<'_>, on: &PartitionSelector, files: &[String]) -> Vec<String> {
    let volumes = on.select(medium);
    let missing = |volume: &PlannedVolume<'_>| -> Vec<String> {
        let absent = files.iter().filter(|file| !volume.holds(file));
        absent.map(|file| format!("`{file}` is not on partition `{}`", volume.partition.name)).collect()
    };
    let all: Vec<Vec<String>> = volumes.into_iter().map(missing).collect();
    // One of several such partitions is enough.
    if all.iter().any(Vec::is_empty) { Vec::new() } else { all.into_iter().next().unwrap_or_default() }
}

pub fn on_bootable(medium: &PlannedMedium<'_>, files: &[String]) -> Vec<String> {
    let any_bootable = medium.volumes.iter().any(|volume| is_bootable(medium, volume));
    let scanned = |volume: &&PlannedVolume<'_>| match any_bootable {
        true => is_bootable(medium, volume),
        false => volume.partition.number == 1,
    };
    let holds = |volume: &PlannedVolume<'_>| files.iter().any(|file| volume.holds(file));
    if medium.volumes.iter().filter(scanned).any(holds) {
        return Vec::new();
    }
    let names: Vec<String> =
        medium.volumes.iter().filter(scanned).map(|volume| volume.partition.name.clone()).collect();
    let mut found = Vec::new();
    for volume in &medium.volumes {
        let here = files.iter().filter(|file| volume.files.name(file, volume.folds_case()));
        for file in here {
            let name = &volume.partition.name;
            found.push(format!("`{file}` is on partition `{name}` but {} is looked at", quoted(&names)));
        }
    }
    found
}

fn is_bootable(medium: &PlannedMedium<'_>, volume: &PlannedVolume<'_>) -> bool {
    let partition = volume.partition;
    match medium.board.table {
        TableKind::Gpt => {
            partition.attributes & LEGACY_BIOS_BOOTABLE != 0 || partition.type_guid == EFI_SYSTEM
        }
        _ => partition.active,
    }
}

pub fn named(
    medium: &PlannedMedium<'_>,
    rules: Option<TextRules>,
    keys: &[String],
    suffix: Option<&str>,
) -> Vec<String> {
    let mut found = Vec::new();
    for text in medium.texts.iter().filter(|text| rules.is_none_or(|rules| text.rules == rules)) {
        for (index, path) in &text.placed {
            let absent = text.files_of(keys).filter(|name| !beside(&medium.volumes[*index], path, name));
            let partition = &medium.volumes[*index].partition.name;
            found.extend(absent.map(|name| {
                format!("`{}` names `{name}`, which is not on partition `{partition}`", text.name)
            }));
        }
        let on_any =
            |name: &&str| medium.filesystems().any(|(_, files)| files.hold_base_name(base_name(name)));
        let absent = suffix.into_iter().flat_map(|suffix| text.words_with(suffix));
        let absent = absent.filter(|name| !on_any(name));
        found.extend(absent.map(|name| format!("`{}` names `{name}`, which is on no filesystem", text.name)));
    }
    found
}

/// Returns whether a file named in the text at `path` is there: from the root of the partition, or beside the text.
fn beside(volume: &PlannedVolume<'_>, path: &str, name: &str) -> bool {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    volume.holds(name) || volume.holds(&format!("{directory}/{name}"))
}

pub fn default(medium: &PlannedMedium<'_>, rules: TextRules, key: &str, file: &str) -> Vec<String> {
    let sets = |text: &BootText| text.settings().any(|setting| setting.key == key);
    let silent = medium.texts.iter().filter(|text| text.rules == rules && !sets(text));
    let mut found = Vec::new();
    for text in silent {
        for (index, _) in text.placed.iter().filter(|(index, _)| !medium.volumes[*index].holds(file)) {
            let (name, partition) = (&text.name, &medium.volumes[*index].partition.name);
            found.push(format!("`{name}` has no `{key}` and `{file}` is not on partition `{partition}`"));
        }
    }
    found
}

pub fn version_in_name(medium: &PlannedMedium<'_>, kernels: &[String], word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for volume in &medium.volumes {
        let is_kernel = |path: &&str| {
            let name = base_name(path);
            kernels.iter().any(|start| name.starts_with(start.as_str())) && !name.contains('*')
        };
        for kernel in volume.files.names().filter(is_kernel) {
            let version = digits_to_digits(base_name(kernel));
            found.extend(unnamed(medium, volume, word, version, kernel));
        }
    }
    found
}

/// The files that texts name by the version of a kernel and that are not beside it.
fn unnamed(
    medium: &PlannedMedium<'_>,
    volume: &PlannedVolume<'_>,
    word: &str,
    version: Option<&str>,
    kernel: &str,
) -> Vec<String> {
    let words = medium.texts.iter().flat_map(|text| text.text.split(|c: char| c.is_whitespace() || c == '"'));
    let named = words.filter(|named| named.contains(word));
    let mut found = Vec::new();
    for named in named {
        let path = named.rsplit('=').next().unwrap_or(named);
        match version {
            None => found.push(format!("`{named}` needs a version but `{kernel}` has no digit")),
            Some(version) if !volume.holds(&path.replace(word, version)) => {
                let path = path.replace(word, version);
                found.push(format!("`{kernel}` has the version `{version}` but `{path}` is not beside it"));
            }
            Some(_) => {}
        }
    }
    found
}

fn digits_to_digits(name: &str) -> Option<&str> {
    let first = name.find(|c: char| c.is_ascii_digit())?;
    let last = name.rfind(|c: char| c.is_ascii_digit())?;
    Some(&name[first..=last])
}
