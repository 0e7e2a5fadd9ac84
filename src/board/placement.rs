//! Files of partitions and artifacts: their contents, and the places that they get.

use serde::Serialize;

use super::InSlots;
use crate::value::ForArch;

/// A file or directory put on a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilePlacement {
    /// Only for these architectures.
    pub arch: ForArch,
    /// Whether it is on a medium with slots, and where.
    #[serde(skip)]
    pub slots: InSlots,
    /// Name in a slot, if it has another one there.
    #[serde(skip)]
    pub slot_name: Option<String>,
    /// Source of the file.
    pub from: ContentSource,
    /// Path on the partition; for several files the directory.
    pub to: String,
    /// Permissions, where they are not those of the source or the usual ones.
    pub mode: Option<u32>,
    /// Nothing is said when it is missing.
    pub optional: bool,
    /// An update leaves it alone.
    pub keep: bool,
}

/// Source of a placed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentSource {
    /// The first of these that exists in the images directory; a last component may contain `*`, then all that
    /// match are placed.
    Images(Vec<String>),
    /// All that is below a directory of the images directory, but for some paths.
    ImagesTree {
        /// The directory.
        tree: String,
        /// Paths below it that are left out.
        exclude: Vec<String>,
    },
    /// A composed artifact.
    Artifact(String),
    /// An empty directory.
    Directory,
    /// A path of the root filesystem and all below it, with owners, permissions and attributes.
    Root {
        /// The path.
        path: String,
        /// Paths below it that are left out.
        exclude: Vec<String>,
    },
    /// A small file with this content.
    Text(String),
    /// A symbolic link to this.
    Link(String),
    /// A state record that says that slot `a` is good.
    SlotState,
}

impl FilePlacement {
    /// Changes every text that can have words in it.
    pub fn fill<E>(&mut self, fill: impl Fn(&mut String) -> Result<(), E>) -> Result<(), E> {
        fill(&mut self.to)?;
        match &mut self.from {
            ContentSource::Images(names) => {
                names.iter_mut().try_for_each(fill)?;
                // Only now it may be seen that they are several, so that the name of one is no place.
                let name = names[0].rsplit('/').next().filter(|name| name.contains('*'));
                let directory = name.and_then(|name| self.to.strip_suffix(name)).map(str::to_owned);
                self.to = directory.unwrap_or_else(|| std::mem::take(&mut self.to));
                Ok(())
            }
            ContentSource::ImagesTree { tree: path, exclude } | ContentSource::Root { path, exclude } => {
                std::iter::once(path).chain(exclude).try_for_each(fill)
            }
            ContentSource::Artifact(text) | ContentSource::Text(text) | ContentSource::Link(text) => {
                fill(text)
            }
            ContentSource::Directory | ContentSource::SlotState => Ok(()),
        }
    }
}
