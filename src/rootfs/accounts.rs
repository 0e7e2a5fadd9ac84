//! The account files of a tree: `etc/passwd`, `shadow`, `group`, `gshadow` (passwd(5), shadow(5), group(5)).

use crate::error::Diagnostic;
use crate::tree::{Body, Content, ContentError, LastLink, LookupError, NodeId, Tree};

/// Reason why an account file of the tree cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "build the root filesystem with Buildroot's default skeleton")]
pub enum AccountsError {
    /// It is not there, or its path leads nowhere.
    #[error("the tree has no `{path}`: {source}")]
    Missing {
        /// Absolute path in the tree.
        path: &'static str,
        /// End of the path.
        source: LookupError,
    },
    /// It is something else than a regular file.
    #[error("`{path}` of the tree is a {kind}, not a file")]
    NotAFile {
        /// Absolute path in the tree.
        path: &'static str,
        /// Kind of node.
        kind: &'static str,
    },
    /// It is not UTF-8.
    #[error("`{path}` of the tree is not text: byte {at} is not UTF-8")]
    NotText {
        /// Absolute path in the tree.
        path: &'static str,
        /// Offset of the first bad byte.
        at: usize,
    },
    /// It cannot be read from the host.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
}

/// The lines of one account file.
pub(super) struct Accounts {
    id: NodeId,
    /// The path with links followed, for the record.
    pub(super) path: Vec<u8>,
    lines: Vec<String>,
}

impl Accounts {
    /// Reads the file at `path` of the tree.
    pub(super) fn load(tree: &Tree, path: &'static str) -> Result<Accounts, AccountsError> {
        let found =
            tree.resolve(path, LastLink::Follow).map_err(|source| AccountsError::Missing { path, source })?;
        let content = match &tree.node(found.id).body {
            Body::File(content) => content.read_all()?,
            other => return Err(AccountsError::NotAFile { path, kind: other.kind() }),
        };
        let text = String::from_utf8(content)
            .map_err(|error| AccountsError::NotText { path, at: error.utf8_error().valid_up_to() })?;
        let lines = text.lines().map(str::to_owned).collect();
        Ok(Accounts { id: found.id, path: found.path, lines })
    }

    /// Puts the lines back into the tree.
    pub(super) fn store(&self, tree: &mut Tree) {
        let mut text = self.lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        tree.node_mut(self.id).body = Body::File(Content::bytes(text.into_bytes()));
    }

    /// Field `index` (from 0) of the first line whose field `key` is `value`.
    pub(super) fn field(&self, key: usize, value: &str, index: usize) -> Option<&str> {
        let line = self.lines.iter().find(|line| line.split(':').nth(key) == Some(value))?;
        line.split(':').nth(index)
    }

    /// The number of a user or group: field 2 of `passwd` and `group`.
    pub(super) fn id_of(&self, name: &str) -> Option<u32> {
        self.field(0, name, 2)?.parse().ok()
    }

    /// The first name that has a number.
    pub(super) fn name_of(&self, id: u32) -> Option<&str> {
        self.field(2, &id.to_string(), 0)
    }

    /// Removes every line of `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.lines.retain(|line| line.split(':').next() != Some(name));
    }

    /// Adds a line at the end.
    pub(super) fn push(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Makes `user` the last member of `group` (the last field of `group` and `gshadow`).
    pub(super) fn add_member(&mut self, group: &str, user: &str) {
        for line in self.lines.iter_mut().filter(|line| line.split(':').next() == Some(group)) {
            let (head, members) = line.rsplit_once(':').unwrap_or((line, ""));
            let others = members.split(',').filter(|member| !member.is_empty() && *member != user);
            let members: Vec<&str> = others.chain([user]).collect();
            *line = format!("{head}:{}", members.join(","));
        }
    }
}
