//! Contents of partitions, ready to be measured, planned and written.

use std::collections::BTreeMap;
use std::fmt;

use crate::artifact::{self, Composed};
use crate::board::{Filesystem, FilesystemKind, Partition, Size, Update};
use crate::error::{Diagnostic, Error, Result};
use crate::fs::{ext4, fat, squashfs};
use crate::plan::{Action, ContentSize, Need, PlannedContent};
use crate::stage::{Inputs, PartitionTree};
use crate::tree::{Body, Content, Node, NodeId, Tree};
use crate::value::ByteSize;

/// Inodes below the first for files, and `lost+found` (Linux `Documentation/filesystems/ext4/special_inodes.rst`).
const RESERVED_INODES: u64 = 11;
/// Part of the content of a partition that must be free beside two versions of it.
const HEADROOM: u64 = 16;

/// Content of a partition.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A FAT that is made in its place.
    Fat { tree: Tree, options: fat::Options },
    /// An ext4 that is made in its place.
    Ext4 { tree: Tree, options: ext4::Options },
    /// A squashfs that is made in its place.
    Squashfs { tree: Tree, options: squashfs::Options },
    /// The whole of a file.
    Image { file: String, content: Content },
    /// A squashfs or archive that was composed before, because its partition is as long as it is.
    Composed { kind: FilesystemKind, composed: Composed },
    /// Nothing is written.
    Nothing,
}

/// A payload and the bytes that it needs.
#[derive(Debug)]
pub(super) struct Measured {
    pub payload: Payload,
    pub need: Need,
}

impl Measured {
    /// The content of a partition whose place is not known yet. One that its partition is to fit is composed.
    pub fn new(
        inputs: &Inputs,
        partition: &Partition,
        placed: PartitionTree,
        root: &Tree,
    ) -> Result<Measured> {
        let payload = Payload::new(inputs, partition, placed, root)?;
        let need = payload.need(partition).map_err(in_partition(partition))?;
        Ok(Measured { payload, need })
    }

    /// The same for a partition of `len` bytes, see [`Payload::settle`].
    pub fn settle(
        self,
        partition: &Partition,
        len: u64,
        resources: &squashfs::Resources,
    ) -> Result<Measured> {
        let Measured { payload, need } = self;
        let payload = payload.settle(&partition.name, len, resources).map_err(in_partition(partition))?;
        let need = match &payload {
            Payload::Composed { composed, .. } => Need::exact(composed.content.len()),
            _ => need,
        };
        Ok(Measured { payload, need })
    }

    /// The content as a plan has to know it.
    pub fn planned(&self, number: u32) -> PlannedContent {
        PlannedContent { action: self.payload.action(number), need: self.need }
    }

    /// Fails if a formatter cannot make the content in `len` bytes.
    pub fn ensure_layout(&self, partition: &Partition, len: u64) -> Result<()> {
        self.payload.ensure_layout(len).map_err(in_partition(partition))
    }
}

impl Payload {
    /// The content of a partition whose place is not known yet. One that its partition is to fit is composed.
    pub fn new(
        inputs: &Inputs,
        partition: &Partition,
        placed: PartitionTree,
        root: &Tree,
    ) -> Result<Payload> {
        let (PartitionTree { tree, raw, .. }, name) = (placed, &partition.name);
        Ok(match &partition.filesystem {
            Filesystem::Fat16 { label } => {
                Payload::Fat { tree, options: inputs.fat_options(name, label, fat::FatType::Fat16) }
            }
            Filesystem::Fat32 { label } => {
                Payload::Fat { tree, options: inputs.fat_options(name, label, fat::FatType::Fat32) }
            }
            Filesystem::Ext4 { label } => {
                let mut options = inputs.ext4_options(name, label);
                if partition.update == Update::Files {
                    options.inodes = RESERVED_INODES + 2 * tree.walk().count() as u64;
                }
                Payload::Ext4 { tree, options }
            }
            Filesystem::Squashfs { codec, block } => {
                let options = inputs.squashfs_options(*codec, *block);
                match partition.size {
                    Size::Fit { .. } => compose_squashfs(root, &options, name, &inputs.resources)?,
                    Size::Exact(_) | Size::Rest { .. } => Payload::Squashfs { tree: root.clone(), options },
                }
            }
            Filesystem::Raw { .. } => match raw {
                Some((file, content)) => Payload::Image { file, content },
                None => Payload::Nothing,
            },
            Filesystem::Tar { compression } => Payload::Composed {
                kind: FilesystemKind::Tar,
                composed: artifact::tar(&tree, *compression, name)?,
            },
            Filesystem::Oci { compression, oci } => {
                let made_for = (inputs.arch, inputs.timestamp);
                let composed = artifact::oci(&tree, *compression, oci, made_for, name)?;
                Payload::Composed { kind: FilesystemKind::Oci, composed }
            }
            Filesystem::None => Payload::Nothing,
        })
    }

    /// The same for a partition of `len` bytes. A squashfs that may turn out too large for it is composed now, so that
    /// this is found before a medium is wiped; any other is composed straight into its partition.
    pub fn settle(self, name: &str, len: u64, resources: &squashfs::Resources) -> Result<Payload> {
        match self {
            Payload::Squashfs { tree, options } if squashfs::layout(&tree, &options)?.size_bound() > len => {
                compose_squashfs(&tree, &options, name, resources)
            }
            payload => Ok(payload),
        }
    }

    /// Bytes that the content needs: where an update writes the next files before it removes the present ones, both
    /// have to fit, with their inodes or clusters, and headroom, because the next are rarely smaller.
    fn need(&self, partition: &Partition) -> Result<Need> {
        if let Payload::Squashfs { tree, options } = self {
            let most = squashfs::layout(tree, options)?.size_bound();
            return Ok(Need { now: ContentSize::AtMost(most), with_next: 0 });
        }
        let now = self.minimum_size()?;
        let twice = match self {
            _ if partition.update != Update::Files => return Ok(Need::exact(now)),
            Payload::Fat { tree, options } => {
                fat::minimum_size(&twice(tree), options)? + count(tree).1 / HEADROOM
            }
            Payload::Ext4 { tree, options } => {
                ext4::minimum_size(&twice(tree), options)? + count(tree).1 / HEADROOM
            }
            _ => return Ok(Need::exact(now)),
        };
        Ok(Need { now: ContentSize::Exact(now), with_next: now.max(twice) })
    }

    /// Least bytes of a partition for the content; none for a squashfs that was settled, which fits even if nothing can
    /// be compressed.
    pub fn minimum_size(&self) -> Result<u64> {
        Ok(match self {
            Payload::Fat { tree, options } => fat::minimum_size(tree, options)?,
            Payload::Ext4 { tree, options } => ext4::minimum_size(tree, options)?,
            Payload::Composed { composed: Composed { content, .. }, .. } | Payload::Image { content, .. } => {
                content.len()
            }
            Payload::Squashfs { .. } | Payload::Nothing => 0,
        })
    }

    /// Fails if a formatter cannot make the content in `len` bytes.
    pub fn ensure_layout(&self, len: u64) -> Result<()> {
        match self {
            Payload::Fat { tree, options } => fat::layout(tree, options, len).map(drop)?,
            Payload::Ext4 { tree, options } => ext4::layout(tree, options, len).map(drop)?,
            Payload::Squashfs { tree, options } => squashfs::layout(tree, options).map(drop)?,
            Payload::Image { .. } | Payload::Composed { .. } | Payload::Nothing => {}
        }
        Ok(())
    }

    /// The action of the plan for partition `number`.
    pub fn action(&self, number: u32) -> Action {
        let (filesystem, label, id, (nodes, content)) = match self {
            Payload::Fat { tree, options } => {
                let kind = match options.fat_type {
                    fat::FatType::Fat16 => FilesystemKind::Fat16,
                    fat::FatType::Fat32 | fat::FatType::Auto => FilesystemKind::Fat32,
                };
                let id = format!("{:04X}-{:04X}", options.volume_id >> 16, options.volume_id & 0xffff);
                (kind, options.label.clone(), id, count(tree))
            }
            Payload::Ext4 { tree, options } => {
                (FilesystemKind::Ext4, options.label.clone(), options.uuid.to_string(), count(tree))
            }
            Payload::Squashfs { tree, options } => {
                (FilesystemKind::Squashfs, String::new(), options.codec.to_string(), count(tree))
            }
            Payload::Composed { kind, composed: Composed { files, .. } } => {
                let count = (files.len(), files.iter().map(|file| file.size).sum());
                (*kind, String::new(), String::new(), count)
            }
            Payload::Image { file, .. } => return Action::Image { number, file: file.clone() },
            Payload::Nothing => return Action::Unformatted { number },
        };
        Action::Filesystem { number, filesystem, label, id, nodes, content: ByteSize(content) }
    }
}

fn compose_squashfs(
    tree: &Tree,
    options: &squashfs::Options,
    name: &str,
    resources: &squashfs::Resources,
) -> Result<Payload> {
    let composed = artifact::squashfs(&squashfs::layout(tree, options)?, name, resources)?;
    Ok(Payload::Composed { kind: FilesystemKind::Squashfs, composed })
}

/// The tree and a copy of it in a directory beside its files.
fn twice(tree: &Tree) -> Tree {
    let mut both = tree.clone();
    let directory = |stat| Node::new(stat, Body::Dir(BTreeMap::new()));
    let copy = both.insert(Tree::ROOT, b".next", directory(tree.node(Tree::ROOT).stat));
    let mut made: BTreeMap<Vec<u8>, NodeId> = BTreeMap::from([(Vec::new(), copy)]);
    for (path, id) in tree.walk().skip(1) {
        let node = tree.node(id);
        let at = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = at.map_or((&[][..], &path[..]), |at| (&path[..at], &path[at + 1..]));
        let twin = if node.entries().is_some() { directory(node.stat) } else { node.clone() };
        let twin = both.insert(made[parent], name, twin);
        if node.entries().is_some() {
            made.insert(path, twin);
        }
    }
    both
}

/// Number of nodes and bytes of content.
fn count(tree: &Tree) -> (usize, u64) {
    let size = |id| match &tree.node(id).body {
        Body::File(content) => content.len(),
        _ => 0,
    };
    tree.walk().skip(1).fold((0, 0), |(nodes, bytes), (_, id)| (nodes + 1, bytes + size(id)))
}

/// An error of a formatter, with the partition it is about.
#[derive(Debug, Diagnostic)]
#[diagnostic(forward(error))]
struct InPartition {
    partition: String,
    error: Error,
}

impl fmt::Display for InPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition `{}`: {}", self.partition, self.error)
    }
}

impl std::error::Error for InPartition {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.diagnostic().source()
    }
}

fn in_partition(partition: &Partition) -> impl FnOnce(Error) -> Error {
    move |error| InPartition { partition: partition.name.clone(), error }.into()
}
