//! Origin of each path of a tree: which source or layer won it, what it shadowed, and which line of which
//! table gave it its mode and owner. Recorded while the tree is composed, so that it costs nothing to ask later.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

#[cfg(feature = "serde")]
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{LastLink, Stat, Tree, components, display};
use crate::value::ByteSize;

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

/// State of a path in the finished tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct State {
    /// Kind of the node.
    pub node: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes, for a file.
    pub size: Option<u64>,
    /// Target, for a symbolic link.
    pub target: Option<String>,
}

impl State {
    fn for_node(tree: &Tree, id: super::NodeId) -> State {
        let node = tree.node(id);
        let (mut size, mut target) = (None, None);
        match &node.body {
            super::Body::File(content) => size = Some(content.len()),
            super::Body::Symlink(text) => target = Some(text.escape_ascii().to_string()),
            _ => {}
        }
        let Stat { mode, uid, gid, .. } = node.stat;
        State { node: node.body.kind(), mode, uid, gid, size, target }
    }
}

/// The answer to "where does this path come from".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The path, absolute, with links in its directories followed.
    pub path: String,
    /// State now; nothing if it is not in the image.
    pub state: Option<State>,
    /// Changes to it, first to last.
    pub traces: Vec<Trace>,
}

impl Explanation {
    /// Returns who put the node there that is there now.
    pub fn winner(&self) -> Option<&Origin> {
        let made = |trace: &&Trace| matches!(trace.change, Change::Created { .. } | Change::Replaced { .. });
        self.traces.iter().rev().find(made).map(|trace| &trace.origin)
    }

    /// Returns who had put something there that the winner replaced, first to last.
    pub fn shadowed(&self) -> Vec<&Origin> {
        let made = |trace: &&Trace| matches!(trace.change, Change::Created { .. } | Change::Replaced { .. });
        let mut origins: Vec<&Origin> = self.traces.iter().filter(made).map(|trace| &trace.origin).collect();
        origins.pop();
        origins
    }

    /// Returns who gave the permission bits.
    pub fn mode_from(&self) -> Option<&Origin> {
        self.last_or_winner(|change| matches!(change, Change::Mode { .. }))
    }

    /// Returns who gave the owner.
    pub fn owner_from(&self) -> Option<&Origin> {
        self.last_or_winner(|change| matches!(change, Change::Owner { .. }))
    }

    /// The last event of a kind since the node was made, else who made it.
    fn last_or_winner(&self, wanted: fn(&Change) -> bool) -> Option<&Origin> {
        let decisive = |trace: &&Trace| {
            wanted(&trace.change) || matches!(trace.change, Change::Created { .. } | Change::Replaced { .. })
        };
        self.traces.iter().rev().find(decisive).map(|trace| &trace.origin)
    }
}

#[cfg(feature = "serde")]
impl Serialize for Explanation {
    /// With the answers, so that a reader need not work them out of the events.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Explanation", 7)?;
        fields.serialize_field("path", &self.path)?;
        fields.serialize_field("state", &self.state)?;
        fields.serialize_field("winner", &self.present(self.winner()))?;
        fields.serialize_field("shadowed", &self.shadowed())?;
        fields.serialize_field("mode_from", &self.present(self.mode_from()))?;
        fields.serialize_field("owner_from", &self.present(self.owner_from()))?;
        fields.serialize_field("traces", &self.traces)?;
        fields.end()
    }
}

impl Explanation {
    /// A path that is not there is from nobody.
    #[cfg(feature = "serde")]
    fn present<'o>(&self, origin: Option<&'o Origin>) -> Option<&'o Origin> {
        origin.filter(|_| self.state.is_some())
    }

    /// Says in one line who won, over whom, and who gave mode and owner.
    fn answer(&self, state: &State, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |origin: Option<&Origin>| origin.map_or("nothing known".into(), Origin::to_string);
        write!(f, "{}: from {}", self.path, name(self.winner()))?;
        let shadowed: Vec<String> = self.shadowed().into_iter().map(Origin::to_string).collect();
        if !shadowed.is_empty() {
            write!(f, ", which shadows {}", shadowed.join(" and "))?;
        }
        write!(f, "; mode {:04o} from {}", state.mode, name(self.mode_from()))?;
        writeln!(f, "; owner {}:{} from {}", state.uid, state.gid, name(self.owner_from()))
    }

    /// Says in one line why a path is not there.
    fn absence(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.traces.last() {
            Some(Trace { origin, change: Change::Removed { .. } }) => {
                writeln!(f, "{} is not in the image: it was removed by {origin}", self.path)
            }
            _ => writeln!(f, "{} is not in the image: nothing brings it", self.path),
        }
    }
}

impl fmt::Display for Explanation {
    /// The answer in one line, then what the path is, then what happened to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            None => self.absence(f)?,
            Some(state) => {
                self.answer(state, f)?;
                write!(f, "  {}", state.node)?;
                state.size.map_or(Ok(()), |size| write!(f, " of {}", ByteSize(size)))?;
                state.target.as_ref().map_or(Ok(()), |target| write!(f, " to `{target}`"))?;
                writeln!(f)?;
            }
        }
        let width = self.traces.iter().map(|trace| trace.change.to_string().len()).max().unwrap_or(0);
        for trace in &self.traces {
            writeln!(f, "  {:width$}  by {}", trace.change.to_string(), trace.origin)?;
        }
        Ok(())
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
