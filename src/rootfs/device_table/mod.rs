//! The device and permission table (`full_devices_table.txt`), as Buildroot's makedevs applies it
//! (`package/makedevs/makedevs.c`, `docs/manual/makedev-syntax.adoc`).
//!
//! Columns: name, type, mode, uid, gid, major, minor, start, inc, count. Types: `f` a file that must be there, `F`
//! one that may be there, `d` a directory, made if missing, `r` everything below, `c` `b` `p` device nodes and
//! fifos. A line `|xattr CAPS` after a file adds file capabilities.
//!
//! Differences to makedevs, all deliberate: the first error ends the work; missing parents of a `d` line get mode
//! 0755 instead of 0777; uid and gid must be given; a number column is `-` or a number.

use std::path::Path;
use std::sync::Arc;

use super::TableLine;
use super::accounts::{Accounts, AccountsError};
use super::capability::{self, CapabilityError, FileCapabilities};
use crate::error::{Diagnostic, ErrorKind};
use crate::tree::provenance::{Change, Origin, OriginId, Provenance};
use crate::tree::{Body, Device, LastLink, LookupError, Node, NodeId, Resolved, Stat, Tree, display, join};
use crate::value::Timestamp;

/// Largest device number makedevs accepts.
const MAX_NUMBER: u32 = 0xf_ffff;
/// Parents that a `d` line makes on its way.
const PARENT_MODE: u32 = 0o755;

/// Why a device table cannot be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum DeviceTableError {
    /// A line is malformed.
    #[error("{at}: {problem}")]
    Syntax {
        /// The line.
        at: TableLine,
        /// Problem of the line.
        problem: String,
    },
    /// A line names a file that is not there.
    #[error("{at}: file `{path}` is not there: {source}")]
    NoFile {
        /// The line.
        at: TableLine,
        /// As in the table.
        path: String,
        /// End of the path.
        source: LookupError,
    },
    /// A line names something of another kind.
    #[error("{at}: `{path}` is a {found}, not a {wanted}")]
    WrongKind {
        /// The line.
        at: TableLine,
        /// As in the table.
        path: String,
        /// Kind that the tree has.
        found: &'static str,
        /// Kind that the type column asks for.
        wanted: &'static str,
    },
    /// A user or group name that the tree does not know.
    #[error("{at}: {what} `{name}` is not in `{file}` of the tree")]
    UnknownName {
        /// The line.
        at: TableLine,
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
    },
    /// An `|xattr` line does not follow a file.
    #[error("{at}: `|xattr` must follow the line of a file")]
    XattrWithoutFile {
        /// The line.
        at: TableLine,
    },
    /// The capability text is wrong.
    #[error("{at}: {source}")]
    Capability {
        /// The line.
        at: TableLine,
        /// Problem of the text.
        source: CapabilityError,
    },
    /// The account files cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

impl Diagnostic for DeviceTableError {
    fn kind(&self) -> ErrorKind {
        match self {
            DeviceTableError::Accounts(error) => error.kind(),
            _ => ErrorKind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            DeviceTableError::Accounts(error) => error.hint(),
            DeviceTableError::NoFile { .. } => Some(
                "use type `F` for a file that may be missing, or build the package that installs it".into(),
            ),
            DeviceTableError::UnknownName { what, .. } => {
                Some(format!("add the {what} to a users table, or write its number"))
            }
            _ => None,
        }
    }
}

/// A parsed table.
#[derive(Clone, Debug)]
pub struct DeviceTable {
    file: Arc<Path>,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    number: usize,
    entry: Entry,
}

#[derive(Clone, Debug)]
enum Entry {
    /// A path with what it should become.
    Path { name: String, kind: Kind, mode: Option<u32>, user: String, group: String },
    /// Capabilities for the file of the line before.
    Xattr(String),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    File { optional: bool },
    Directory,
    Recursive,
    Nodes { kind: NodeKind, major: u32, minor: u32, start: u32, increment: u32, count: u32 },
}

#[derive(Clone, Copy, Debug)]
enum NodeKind {
    Char,
    Block,
    Fifo,
}

impl NodeKind {
    fn body(self, device: Device) -> Body {
        match self {
            NodeKind::Char => Body::Char(device),
            NodeKind::Block => Body::Block(device),
            NodeKind::Fifo => Body::Fifo,
        }
    }
}

impl DeviceTable {
    /// Parses the text of the table at `file` (named in messages only).
    pub fn parse(file: &Path, text: &str) -> Result<DeviceTable, DeviceTableError> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = || TableLine { file: file.into(), line: number };
            let entry = parse_line(line).map_err(|problem| DeviceTableError::Syntax { at: at(), problem })?;
            lines.push(Line { number, entry });
        }
        Ok(DeviceTable { file: file.into(), lines })
    }

    /// Applies every line to `tree`; nodes that are made get `mtime`. On an error the tree is left half done.
    pub fn apply(
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

fn parse_line(line: &str) -> Result<Entry, String> {
    if let Some(rest) = line.strip_prefix("|xattr") {
        return match rest.trim() {
            "" => Err("`|xattr` without capabilities".into()),
            text => Ok(Entry::Xattr(text.into())),
        };
    }
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, kind, mode, user, group, numbers @ ..] = columns.as_slice() else {
        return Err(format!("{} columns, but name, type, mode, uid and gid are needed", columns.len()));
    };
    let mode = match *mode {
        "-1" => None,
        text => match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Some(mode),
            _ => return Err(format!("mode `{text}` is not an octal number up to 7777")),
        },
    };
    let kind = parse_kind(kind, numbers)?;
    let (name, user, group) = (name.to_string(), user.to_string(), group.to_string());
    Ok(Entry::Path { name, kind, mode, user, group })
}

fn parse_kind(kind: &str, columns: &[&str]) -> Result<Kind, String> {
    if columns.len() > 5 {
        return Err(format!("{} columns, but there are at most 10", columns.len() + 5));
    }
    let mut numbers = [0; 5];
    for (number, column) in numbers.iter_mut().zip(columns) {
        *number = match *column {
            "-" => 0,
            text => text
                .parse()
                .ok()
                .filter(|number| *number <= MAX_NUMBER)
                .ok_or_else(|| format!("`{text}` is not `-` or a number up to {MAX_NUMBER}"))?,
        };
    }
    let [major, minor, start, increment, count] = numbers;
    let last = u64::from(minor) + u64::from(count.saturating_sub(1)) * u64::from(increment);
    if last > u64::from(MAX_NUMBER) {
        return Err(format!("the last minor number is {last}, but at most {MAX_NUMBER} is possible"));
    }
    let nodes = |kind| Kind::Nodes { kind, major, minor, start, increment, count };
    match kind {
        "f" => Ok(Kind::File { optional: false }),
        "F" => Ok(Kind::File { optional: true }),
        "d" => Ok(Kind::Directory),
        "r" => Ok(Kind::Recursive),
        "c" => Ok(nodes(NodeKind::Char)),
        "b" => Ok(nodes(NodeKind::Block)),
        "p" => Ok(nodes(NodeKind::Fifo)),
        _ => Err(format!("unknown type `{kind}`: use f, F, d, r, c, b or p")),
    }
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
        if text == "-1" {
            return Ok(None);
        }
        if let Ok(id) = text.parse() {
            return Ok(Some(id));
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
        if !crate::tree::is_component(last.as_bytes()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Content;

    fn file(text: &str) -> Node {
        Node::new(Stat { mode: 0o644, uid: 0, gid: 0, mtime: 0 }, Body::File(Content::bytes(text.as_bytes())))
    }

    fn sample() -> Tree {
        let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
        let mut tree = Tree::new(stat);
        let (etc, _) = tree.create_dirs("etc", stat).unwrap();
        tree.insert(etc.id, b"passwd", file("root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/bin/false\n"));
        tree.insert(etc.id, b"group", file("root:x:0:\ndbus:x:101:\n"));
        let (bin, _) = tree.create_dirs("usr/bin", stat).unwrap();
        tree.insert(bin.id, b"busybox", file(""));
        tree.insert(Tree::ROOT, b"bin", Node::new(stat, Body::Symlink(b"usr/bin".as_slice().into())));
        tree.create_dirs("dev", stat).unwrap();
        tree
    }

    fn apply(text: &str) -> Result<(Tree, Provenance), DeviceTableError> {
        let (mut tree, mut provenance) = (sample(), Provenance::new());
        let table = DeviceTable::parse(Path::new("devices.txt"), text)?;
        table.apply(&mut tree, &mut provenance, 5)?;
        Ok((tree, provenance))
    }

    fn stat(tree: &Tree, path: &str) -> (u32, u32, u32) {
        let Stat { mode, uid, gid, .. } = tree.node(tree.get(path).unwrap()).stat;
        (mode, uid, gid)
    }

    #[test]
    fn files_are_found_through_links_of_the_tree() {
        let (tree, provenance) = apply("# a comment\n\n /bin/busybox f 4750 root dbus - - - - -\n").unwrap();
        assert_eq!(stat(&tree, "usr/bin/busybox"), (0o4750, 0, 101));
        let from = provenance.explain(&tree, "/bin/busybox").mode_from().unwrap().to_string();
        assert_eq!(from, "device table `devices.txt:3`");
    }

    #[test]
    fn directories_are_made_and_recursion_keeps_links_and_modes() {
        let (tree, _) = apply("/var/www d 750 www 33 - - - - -\n/usr r -1 33 -1\n/bin r 700 7 7\n").unwrap();
        assert_eq!(stat(&tree, "var"), (0o755, 0, 0));
        assert_eq!(stat(&tree, "var/www"), (0o750, 33, 33));
        assert_eq!(stat(&tree, "usr/bin/busybox"), (0o644, 33, 0));
        assert_eq!(stat(&tree, "bin"), (0o755, 7, 7));
    }

    #[test]
    fn nodes_are_counted() {
        let table =
            "/dev/console c 622 0 0 5 1 - - -\n/dev/hda b 640 0 0 3 1 1 2 3\n/dev/log p 600 0 0 - -\n";
        let (tree, _) = apply(table).unwrap();
        let names: Vec<_> = tree.node(tree.get("dev").unwrap()).entries().unwrap().keys().cloned().collect();
        let names: Vec<_> = names.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(names, ["console", "hda1", "hda2", "hda3", "log"]);
        let Body::Block(device) = tree.node(tree.get("dev/hda3").unwrap()).body else { panic!("a device") };
        assert_eq!(device, Device { major: 3, minor: 5 });
        assert_eq!(stat(&tree, "dev/console"), (0o622, 0, 0));
    }

    #[test]
    fn capabilities_accumulate_on_the_file_before() {
        let table = "/bin/busybox f 755 0 0\n|xattr cap_net_raw+ep\n  |xattr cap_net_admin+ep\n\
                     /bin/none F 755 0 0\n|xattr cap_net_raw+ep\n";
        let (tree, _) = apply(table).unwrap();
        let value = &tree.node(tree.get("usr/bin/busybox").unwrap()).xattrs[capability::XATTR];
        assert_eq!(value[..8], [1, 0, 0, 2, 0, 0x30, 0, 0]);
    }

    #[test]
    fn errors_name_file_and_line() {
        let message = |text: &str| apply(text).unwrap_err().to_string();
        assert_eq!(
            message("\n/bin/nano f 755 0 0 - - - - -\n"),
            "`devices.txt:2`: file `/bin/nano` is not there: `/usr/bin/nano` does not exist in the tree"
        );
        assert_eq!(message("/etc f 755 0 0\n"), "`devices.txt:1`: `/etc` is a directory, not a file");
        assert_eq!(
            message("/etc d 755 nobody 0\n"),
            "`devices.txt:1`: user `nobody` is not in `/etc/passwd` of the tree"
        );
        assert_eq!(
            message("/etc d 755 0 wheel\n"),
            "`devices.txt:1`: group `wheel` is not in `/etc/group` of the tree"
        );
        assert_eq!(
            message("/etc d 755\n"),
            "`devices.txt:1`: 3 columns, but name, type, mode, uid and gid are needed"
        );
        assert_eq!(
            message("/etc d 999 0 0"),
            "`devices.txt:1`: mode `999` is not an octal number up to 7777"
        );
        assert_eq!(message("/etc x 755 0 0"), "`devices.txt:1`: unknown type `x`: use f, F, d, r, c, b or p");
        assert_eq!(
            message("/dev/a c 755 0 0 x"),
            "`devices.txt:1`: `x` is not `-` or a number up to 1048575"
        );
        assert_eq!(
            message("/dev/a c 755 0 0 1 0 0 1048575 3"),
            "`devices.txt:1`: the last minor number is 2097150, but at most 1048575 is possible"
        );
        assert_eq!(
            message("/etc d 755 0 0\n|xattr cap_chown+p"),
            "`devices.txt:2`: `|xattr` must follow the line of a file"
        );
        assert_eq!(
            message("/bin/busybox f 755 0 0\n|xattr cap_x+p"),
            "`devices.txt:2`: unknown capability `cap_x`"
        );
        assert_eq!(message("|xattr"), "`devices.txt:1`: `|xattr` without capabilities");
        assert_eq!(
            message("/dev/a c 755 0 0 1 2 3 4 5 6"),
            "`devices.txt:1`: 11 columns, but there are at most 10"
        );
        assert_eq!(message("/dev/.. c 755 0 0 1 2"), "`devices.txt:1`: `/dev/..` is not the path of a node");
        assert_eq!(
            message("/etc/passwd c 755 0 0 1 2"),
            "`devices.txt:1`: `/etc/passwd` is a file, not a character device"
        );
        assert_eq!(
            message("/none/a p 755 0 0"),
            "`devices.txt:1`: file `/none/a` is not there: `/none` does not exist in the tree"
        );
        let hint = apply("/bin/nano f 755 0 0").unwrap_err().hint().unwrap();
        assert_eq!(
            hint,
            "use type `F` for a file that may be missing, or build the package that installs it"
        );
    }
}
