//! A device table applied to a tree: owners, modes, nodes and capabilities.

use super::DeviceTableError;
use super::parse::{DeviceTable, Entry, Kind};
use crate::rootfs::TableLine;
use crate::rootfs::accounts::{Accounts, AccountsError};
use crate::rootfs::capability::{self, FileCapabilities};
use crate::tree::provenance::{Change, Origin, OriginId, Provenance};
use crate::tree::{Body, Device, LastLink, Node, NodeId, Resolved, Stat, Tree, display, is_component, join};
use crate::value::Timestamp;

/// `-1` of chown(2).
const NO_CHANGE: u32 = u32::MAX;
/// Parents that a `d` line makes on its way.
const PARENT_MODE: u32 = 0o755;

impl DeviceTable {
    /// Applies every line to `tree`; nodes that are made get `mtime`. On an error the tree is left half done.
    pub(in crate::rootfs) fn apply(
        &self,
        tree: &mut Tree,
        provenance: &mut Provenance,
        mtime: Timestamp,
    ) -> Result<(), DeviceTableError> {
        let mut last = LastFile::None;
        for line in &self.lines {
            let file = self.file.to_path_buf();
            let origin = provenance.origin(Origin::DeviceTable { file, line: line.number });
            let at = TableLine { file: self.file.clone(), line: line.number };
            let mut apply = Apply { tree, provenance, origin, at, mtime };
            match &line.entry {
                Entry::Path { name, kind, mode, user, group } => {
                    let owner = apply.owner(user, group)?;
                    last = apply.path(name, *kind, *mode, owner)?;
                }
                Entry::Xattr(text) => apply.capability(text, &last)?,
            }
        }
        Ok(())
    }
}

/// A decimal number with a sign, as strtoul(3) takes it: what does not fit 32 bits is cut.
fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| whole)? as u32;
    Some(if text.starts_with('-') { number.wrapping_neg() } else { number })
}

/// The file that an `|xattr` line belongs to.
enum LastFile {
    /// The line before was not about a file.
    None,
    /// It was about an optional file that is missing.
    Skipped,
    /// This one, with the capabilities it has from the table so far.
    File(Resolved),
}

/// Owner and group to set; nothing keeps what is there.
type Owner = (Option<u32>, Option<u32>);

struct Apply<'a> {
    tree: &'a mut Tree,
    provenance: &'a mut Provenance,
    origin: OriginId,
    at: TableLine,
    mtime: Timestamp,
}

impl Apply<'_> {
    fn owner(&self, user: &str, group: &str) -> Result<Owner, DeviceTableError> {
        Ok((self.id(user, "user", "/etc/passwd")?, self.id(group, "group", "/etc/group")?))
    }

    /// A number, a name of the tree's own account files, or `-1` for no change (chown(2)).
    fn id(
        &self,
        text: &str,
        what: &'static str,
        file: &'static str,
    ) -> Result<Option<u32>, DeviceTableError> {
        if let Some(id) = number(text) {
            return Ok(Some(id).filter(|id| *id != NO_CHANGE));
        }
        let unknown = || DeviceTableError::UnknownName { at: self.at.clone(), what, name: text.into(), file };
        let id = match Accounts::load(self.tree, file) {
            Ok(accounts) => accounts.id_of(text),
            Err(AccountsError::Missing { .. }) if text == "root" => None,
            Err(error) => return Err(error.into()),
        };
        // The superuser needs no account file.
        id.or((text == "root").then_some(0)).map(Some).ok_or_else(unknown)
    }

    fn path(
        &mut self,
        name: &str,
        kind: Kind,
        mode: Option<u32>,
        owner: Owner,
    ) -> Result<LastFile, DeviceTableError> {
        match kind {
            Kind::File { optional } => self.file(name, optional, mode, owner),
            Kind::Directory => self.directory(name, mode, owner).map(|()| LastFile::None),
            Kind::Recursive => self.recursive(name, mode, owner).map(|()| LastFile::None),
            Kind::Nodes { kind, major, minor, start, increment, count } => {
                for step in 0..count.max(1) {
                    let number = (count > 1).then(|| start + step);
                    let device = Device { major, minor: minor + step * increment };
                    self.node(name, number, kind.body(device), mode.unwrap_or(0o755), owner)?;
                }
                Ok(LastFile::None)
            }
        }
    }

    fn file(
        &mut self,
        name: &str,
        optional: bool,
        mode: Option<u32>,
        owner: Owner,
    ) -> Result<LastFile, DeviceTableError> {
        let found = match self.tree.resolve(name, LastLink::Follow) {
            Ok(found) => found,
            Err(_) if optional => return Ok(LastFile::Skipped),
            Err(source) => {
                return Err(DeviceTableError::NoFile { at: self.at.clone(), path: name.into(), source });
            }
        };
        match &self.tree.node(found.id).body {
            Body::File(_) => {}
            _ if optional => return Ok(LastFile::Skipped),
            other => return Err(self.wrong_kind(name, other.kind(), "file")),
        }
        self.set(&found.path, found.id, mode, owner);
        Ok(LastFile::File(found))
    }

    fn directory(&mut self, name: &str, mode: Option<u32>, owner: Owner) -> Result<(), DeviceTableError> {
        let parent = Stat { mode: PARENT_MODE, uid: 0, gid: 0, mtime: self.mtime };
        let (found, created) = self
            .tree
            .create_dirs(name, parent)
            .map_err(|source| DeviceTableError::NoFile { at: self.at.clone(), path: name.into(), source })?;
        for path in &created {
            self.provenance.record(path, self.origin, Change::Created { node: "directory" });
        }
        self.set(&found.path, found.id, mode, owner);
        Ok(())
    }

    /// Everything below `name`, and itself; symbolic links get the owner only.
    fn recursive(&mut self, name: &str, mode: Option<u32>, owner: Owner) -> Result<(), DeviceTableError> {
        let found = self.tree.resolve(name, LastLink::Keep).map_err(|source| DeviceTableError::NoFile {
            at: self.at.clone(),
            path: name.into(),
            source,
        })?;
        let mut stack = vec![(found.path, found.id)];
        while let Some((path, id)) = stack.pop() {
            let node = self.tree.node(id);
            for (name, child) in node.entries().into_iter().flatten() {
                stack.push((join(&path, name), *child));
            }
            let mode = mode.filter(|_| !matches!(node.body, Body::Symlink(_)));
            self.set(&path, id, mode, owner);
        }
        Ok(())
    }

    fn node(
        &mut self,
        name: &str,
        number: Option<u32>,
        body: Body,
        mode: u32,
        owner: Owner,
    ) -> Result<(), DeviceTableError> {
        let name = number.map_or_else(|| name.to_owned(), |number| format!("{name}{number}"));
        let (dir, last) = name.trim_end_matches('/').rsplit_once('/').unwrap_or(("", &name));
        if !is_component(last.as_bytes()) {
            let problem = format!("`{name}` is not the path of a node");
            return Err(DeviceTableError::Syntax { at: self.at.clone(), problem });
        }
        let parent = self.tree.resolve(dir, LastLink::Follow).map_err(|source| DeviceTableError::NoFile {
            at: self.at.clone(),
            path: name.clone(),
            source,
        })?;
        let kind = self.tree.node(parent.id).body.kind();
        if kind != "directory" {
            return Err(self.wrong_kind(dir, kind, "directory"));
        }
        if let Some(old) = self.tree.child(parent.id, last.as_bytes()) {
            let (found, wanted) = (self.tree.node(old).body.kind(), body.kind());
            if found != wanted {
                return Err(self.wrong_kind(&name, found, wanted));
            }
        }
        let (uid, gid) = (owner.0.unwrap_or(0), owner.1.unwrap_or(0));
        let path = join(&parent.path, last.as_bytes());
        self.provenance.record(&path, self.origin, Change::Created { node: body.kind() });
        let stat = Stat { mode, uid, gid, mtime: self.mtime };
        self.tree.insert(parent.id, last.as_bytes(), Node::new(stat, body));
        Ok(())
    }

    fn set(&mut self, path: &[u8], id: NodeId, mode: Option<u32>, owner: Owner) {
        let stat = &mut self.tree.node_mut(id).stat;
        let old = *stat;
        stat.mode = mode.unwrap_or(old.mode);
        stat.uid = owner.0.unwrap_or(old.uid);
        stat.gid = owner.1.unwrap_or(old.gid);
        let new = *stat;
        self.provenance.record_stat(path, self.origin, old, new);
    }

    /// Adds capabilities to those the file has.
    fn capability(&mut self, text: &str, last: &LastFile) -> Result<(), DeviceTableError> {
        let found = match last {
            LastFile::File(found) => found,
            LastFile::Skipped => return Ok(()),
            LastFile::None => return Err(DeviceTableError::XattrWithoutFile { at: self.at.clone() }),
        };
        let wrong = |source| DeviceTableError::Capability { at: self.at.clone(), source };
        let xattrs = &mut self.tree.node_mut(found.id).xattrs;
        let old = xattrs.get(capability::XATTR).and_then(|value| FileCapabilities::from_xattr(value));
        let new = old.unwrap_or_default().apply(text).map_err(wrong)?;
        xattrs.insert(capability::XATTR.into(), new.to_xattr().into());
        let name = String::from_utf8_lossy(capability::XATTR).into_owned();
        self.provenance.record(&found.path, self.origin, Change::Xattr { name });
        Ok(())
    }

    fn wrong_kind(&self, name: &str, found: &'static str, wanted: &'static str) -> DeviceTableError {
        let path = display(name.trim_start_matches('/').as_bytes());
        DeviceTableError::WrongKind { at: self.at.clone(), path, found, wanted }
    }
}
