//! The answer to "where does this path come from".

use std::fmt;

#[cfg(feature = "serde")]
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Change, Origin, Trace};
use crate::tree::{Body, NodeId, Stat, Tree};
use crate::value::ByteSize;

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
    pub(super) fn for_node(tree: &Tree, id: NodeId) -> State {
        let node = tree.node(id);
        let (mut size, mut target) = (None, None);
        match &node.body {
            Body::File(content) => size = Some(content.len()),
            Body::Symlink(text) => target = Some(text.escape_ascii().to_string()),
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
