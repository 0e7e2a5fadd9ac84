//! Metadata of a used filesystem: what no system writes there must be as it was written, and what systems write must not
//! contradict itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Section;
use super::damage::DamagedFile;
use crate::error::Result;
use crate::fs::ext4::update::{Facts, UpdateError, Volume};
use crate::fs::{Damage, Problem, fat};
use crate::manifest::{NodeEntry, RegionEntry};
use crate::storage::ReadOnly;
use crate::tree;

/// Findings about a filesystem.
#[derive(Default)]
pub(super) struct Findings {
    /// Contradictions of its tables.
    pub problems: Vec<String>,
    /// Files of the system that have other owners, modes or attributes.
    pub files: Vec<DamagedFile>,
}

/// Looks at an ext4 of the system that has `len` bytes now.
pub(super) fn of_ext4(medium: &ReadOnly, region: &RegionEntry, len: u64) -> Findings {
    let mut found = BTreeMap::new();
    let wanted: BTreeSet<&str> = region.nodes.iter().map(|node| node.path.as_str()).collect();
    let mut remember = |path: &[u8], facts: &Facts| {
        let path = tree::display(path);
        if wanted.contains(path.as_str()) {
            found.insert(path, facts.clone());
        }
    };
    let volume = Volume::open(medium, region.offset, len);
    let problems = match volume.and_then(|volume| volume.examine(&mut remember)) {
        Ok(problems) => problems,
        // Those have a problem of their own.
        Err(UpdateError::Features { .. }) => return Findings::default(),
        Err(error) => return Findings { problems: vec![error.to_string()], files: Vec::new() },
    };
    let kept = |path: &str| region.files.iter().any(|entry| entry.keep && entry.file.path == path);
    let nodes = region.nodes.iter().filter(|node| !kept(&node.path));
    let files = nodes.filter_map(|node| differs(node, found.get(&node.path), region)).collect();
    Findings { problems, files }
}

/// Compares what was written with what is there.
fn differs(node: &NodeEntry, found: Option<&Facts>, region: &RegionEntry) -> Option<DamagedFile> {
    let Some(found) = found else {
        // Files are compared by their content, too, and are reported there.
        let is_file = region.files.iter().any(|entry| entry.file.path == node.path);
        return (!is_file).then(|| damaged(&node.path, Problem::Missing));
    };
    let wanted = &node.facts;
    let octal = |mode: u32| format!("{:04o}", mode & 0o7777);
    let owner = |facts: &Facts| format!("{}:{}", facts.uid, facts.gid);
    let flags = |facts: &Facts| format!("{:#x}", facts.flags);
    let kind = |facts: &Facts| format!("{:#o}", facts.mode & 0o170_000);
    let digest = |digest: &Option<_>| {
        digest.map_or_else(|| "none".into(), |digest: crate::value::Digest| digest.to_string())
    };
    let properties = [
        ("type", kind(wanted), kind(found)),
        ("mode", octal(wanted.mode), octal(found.mode)),
        ("owner", owner(wanted), owner(found)),
        ("flags", flags(wanted), flags(found)),
        ("target", digest(&wanted.content), digest(&found.content)),
        ("extended attributes", digest(&wanted.xattrs), digest(&found.xattrs)),
    ];
    let (what, expected, found) = properties.into_iter().find(|(_, wanted, found)| wanted != found)?;
    Some(damaged(&node.path, Problem::Differs { what, expected, found }))
}

fn damaged(path: &str, problem: Problem) -> DamagedFile {
    DamagedFile { damage: Damage { path: path.into(), problem }, inside: Vec::new(), unreadable: None }
}

/// Looks at a FAT of the system.
pub(super) fn of_fat(mut section: Section, region: &RegionEntry) -> Result<Findings> {
    let examined = fat::examine(&mut section);
    let problems = examined.unwrap_or_else(|error| vec![format!("its tables cannot be read: {error}")]);
    let entries = fat::Volume::from_reader(&region.name, section)?.entries()?;
    let ours = region.files.iter().filter(|entry| !entry.keep);
    let differs = ours.filter_map(|entry| {
        let found = entries.get(&entry.file.path)?.use_attributes();
        let show = |attributes: u8| format!("{attributes:#04x}");
        let problem =
            Problem::Differs { what: "attributes", expected: show(entry.attributes), found: show(found) };
        (found != entry.attributes).then(|| damaged(&entry.file.path, problem))
    });
    Ok(Findings { problems, files: differs.collect() })
}
