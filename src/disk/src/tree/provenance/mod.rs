//! Origin of each path of a tree: which source or layer won it, what it shadowed, and which line of which
//! table gave it its mode and owner. Recorded while the tree is composed, so that it costs nothing to ask later.

mod explanation;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use explanation::{Explanation, State};

use super::{LastLink, Stat, Tree, components, display};
/// Origin of a change to a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "kind", rename_all = "kebab-case"))]
pub enum Origin {
    /// The directory or archive the tree was read from.
    Source {
        /// Buildroot's target directory or `rootfs.tar`.
        path: PathBuf,
    },
    /// A package of Buildroot that installed a file.
    Package {
        /// Name of the package.
        name: String,
    },
    /// The root overlay of a layer.
    Layer {
        /// Name of the layer.
        name: String,
    },
    /// A line of a users table.
    UsersTable {
        /// The table.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A line of a device and permission table.
    DeviceTable {
        /// The table.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A systemd unit that presets enabled or disabled.
    Preset {
        /// The unit.
        unit: String,
        /// The preset file and line that decided, or what stands for them.
        rule: String,
    },
    /// A fixed step of composing, for example emptying `/run`.
    Step {
        /// Purpose of the step.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Source { path } => write!(f, "source `{}`", path.display()),
            Origin::Package { name } => write!(f, "package `{name}`"),
            Origin::Layer { name } => write!(f, "layer `{name}`"),
            Origin::UsersTable { file, line } => write!(f, "users table `{}:{line}`", file.display()),
            Origin::DeviceTable { file, line } => write!(f, "device table `{}:{line}`", file.display()),
            Origin::Preset { unit, rule } => write!(f, "preset of unit `{unit}` ({rule})"),
            Origin::Step { name } => write!(f, "step `{name}`"),
        }
    }
}

/// Change to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "change", rename_all = "kebab-case"))]
pub enum Change {
    /// It came to be.
    Created {
        /// Kind of the new node.
        node: &'static str,
    },
    /// It took the place of another node.
    Replaced {
        /// Kind of the old node.
        old: &'static str,
        /// Kind of the new node.
        node: &'static str,
    },
    /// A directory that was already there was named again and kept.
    Merged,
    /// The bytes of a file were edited.
    Edited,
    /// Permission bits.
    Mode {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// Owner and group.
    Owner {
        /// Before.
        from: (u32, u32),
        /// After.
        to: (u32, u32),
    },
    /// An extended attribute.
    Xattr {
        /// Its name.
        name: String,
    },
    /// It is gone.
    Removed {
        /// Kind of the removed node.
        node: &'static str,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Created { node } => write!(f, "created as {node}"),
            Change::Replaced { old, node } => write!(f, "{old} replaced by {node}"),
            Change::Merged => f.write_str("directory merged"),
            Change::Edited => f.write_str("content edited"),
            Change::Mode { from, to } => write!(f, "mode {from:04o} -> {to:04o}"),
            Change::Owner { from, to } => write!(f, "owner {}:{} -> {}:{}", from.0, from.1, to.0, to.1),
            Change::Xattr { name } => write!(f, "attribute {name} set"),
            Change::Removed { node } => write!(f, "{node} removed"),
        }
    }
}

/// Index of an [`Origin`] in its [`Provenance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginId(u32);

/// One event in the life of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Trace {
    /// Origin of the change.
    pub origin: Origin,
    /// The change.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub change: Change,
}

/// The life of every path, in the order in which things happened.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    origins: Vec<Origin>,
    traces: BTreeMap<Vec<u8>, Vec<(OriginId, Change)>>,
}

impl Provenance {
    /// No events.
    pub fn new() -> Provenance {
        Provenance::default()
    }

    /// Registers who acts next.
    ///
    /// # Panics
    /// With more than 2^32 origins.
    pub fn origin(&mut self, origin: Origin) -> OriginId {
        let id = u32::try_from(self.origins.len()).expect("fewer than 2^32 origins");
        self.origins.push(origin);
        OriginId(id)
    }

    /// Notes a change of `path`, which has no leading slash and leads through no link.
    pub fn record(&mut self, path: &[u8], origin: OriginId, change: Change) {
        self.traces.entry(path.to_vec()).or_default().push((origin, change));
    }

    /// Notes every path of `tree` as created by `origin`.
    pub fn record_tree(&mut self, tree: &Tree, origin: OriginId) {
        for (path, id) in tree.walk() {
            self.record(&path, origin, Change::Created { node: tree.node(id).body.kind() });
        }
    }

    /// Notes what differs between two states of a node's metadata.
    pub fn record_stat(&mut self, path: &[u8], origin: OriginId, old: Stat, new: Stat) {
        if (old.uid, old.gid) != (new.uid, new.gid) {
            let (from, to) = ((old.uid, old.gid), (new.uid, new.gid));
            self.record(path, origin, Change::Owner { from, to });
        }
        if old.mode != new.mode {
            self.record(path, origin, Change::Mode { from: old.mode, to: new.mode });
        }
    }

    /// The life of `path` as it ended in `tree`. Links in its directories are followed; a path without any event
    /// has an explanation too, which says so.
    pub fn explain(&self, tree: &Tree, path: impl AsRef<[u8]>) -> Explanation {
        let path = path.as_ref();
        let found = tree.resolve(path, LastLink::Keep);
        let plain = || components(path).collect::<Vec<_>>().join(&b'/');
        let path = found.as_ref().map_or_else(|_| plain(), |found| found.path.clone());
        let events = self.traces.get(&path).map(Vec::as_slice).unwrap_or_default();
        let trace = |(id, change): &(OriginId, Change)| Trace {
            origin: self.origins[id.0 as usize].clone(),
            change: change.clone(),
        };
        let state = found.ok().map(|found| State::for_node(tree, found.id));
        Explanation { path: display(&path), state, traces: events.iter().map(trace).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Content, Node};
    use super::*;

    const STAT: Stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 0 };

    #[test]
    fn an_explanation_says_who_won_what_was_shadowed_and_who_gave_the_mode() {
        let mut tree = Tree::new(STAT);
        let mut provenance = Provenance::new();
        let target = provenance.origin(Origin::Source { path: "out/target".into() });
        let layer = provenance.origin(Origin::Layer { name: "skiff/core".into() });
        let line = provenance.origin(Origin::DeviceTable { file: "devices.txt".into(), line: 4 });
        tree.insert(
            Tree::ROOT,
            b"x",
            Node::new(Stat { mode: 0o600, ..STAT }, Body::File(Content::bytes(b"1".as_slice()))),
        );
        provenance.record(b"x", target, Change::Created { node: "file" });
        provenance.record(b"x", layer, Change::Replaced { old: "file", node: "file" });
        provenance.record_stat(b"x", line, STAT, Stat { mode: 0o600, ..STAT });
        let explanation = provenance.explain(&tree, "/x");
        assert_eq!(
            explanation.to_string(),
            "/x: from layer `skiff/core`, which shadows source `out/target`; mode 0600 from device table \
             `devices.txt:4`; owner 0:0 from layer `skiff/core`\n  file of 1 bytes\n  created as file        by source `out/target`\n  \
             file replaced by file  by layer `skiff/core`\n  mode 0644 -> 0600      by device table `devices.txt:4`\n"
        );
        assert_eq!(explanation.winner(), Some(&Origin::Layer { name: "skiff/core".into() }));
        assert_eq!(explanation.shadowed(), [&Origin::Source { path: "out/target".into() }]);
        assert_eq!(
            explanation.mode_from(),
            Some(&Origin::DeviceTable { file: "devices.txt".into(), line: 4 })
        );
        assert_eq!(explanation.owner_from(), Some(&Origin::Layer { name: "skiff/core".into() }));
        assert_eq!(
            provenance.explain(&tree, "/y").to_string(),
            "/y is not in the image: nothing brings it\n"
        );
        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(json["traces"][1]["origin"]["name"], "skiff/core");
        assert_eq!(json["traces"][2]["change"], "mode");
        assert_eq!((&json["winner"]["name"], &json["mode_from"]["line"]), (&"skiff/core".into(), &4.into()));
    }
}
