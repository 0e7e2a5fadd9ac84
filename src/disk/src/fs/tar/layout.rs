//! From a tree to a list of members. Reads metadata only.

use std::collections::HashMap;

use super::raw::{BLOCK, END, Header, NAME_LEN, PAX, most, record};
use crate::tree::{Body, Content, Node, NodeId, Tree, display};

/// An archive whose every byte is decided. Borrows the contents of the tree.
#[derive(Debug)]
pub struct Layout<'t> {
    pub(super) members: Vec<Member<'t>>,
    dropped: Vec<String>,
}

/// One member: its headers, and the content behind them.
#[derive(Debug)]
pub(super) struct Member<'t> {
    pub path: Vec<u8>,
    pub headers: Vec<u8>,
    pub content: Option<&'t Content>,
    /// Index of the member that has the content of this name.
    pub same_as: Option<usize>,
}

impl Layout<'_> {
    /// Paths of nodes that cannot be stored.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Bytes of the archive.
    pub fn len(&self) -> u64 {
        let data = |member: &Member| member.content.map_or(0, Content::len).next_multiple_of(BLOCK);
        END + self.members.iter().map(|member| member.headers.len() as u64 + data(member)).sum::<u64>()
    }

    /// Never: an archive has at least its end mark.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Decides order and headers, and which name of a file carries its data: the first.
pub fn layout(tree: &Tree) -> Layout<'_> {
    let mut layout = Layout { members: Vec::new(), dropped: Vec::new() };
    let mut first: HashMap<NodeId, usize> = HashMap::new();
    for (path, id) in tree.walk().skip(1) {
        let node = tree.node(id);
        if let Body::Socket = node.body {
            layout.dropped.push(format!("`{}` is a socket", display(&path)));
            continue;
        }
        let index = layout.members.len();
        let same_as = match node.body {
            Body::Dir(_) => None,
            _ => first.get(&id).copied().or_else(|| {
                first.insert(id, index);
                None
            }),
        };
        let linked = same_as.map(|index| layout.members[index].path.clone());
        layout.members.push(member(path, node, linked.as_deref(), same_as));
    }
    layout
}

fn member<'t>(path: Vec<u8>, node: &'t Node, linked: Option<&[u8]>, same_as: Option<usize>) -> Member<'t> {
    let (typeflag, link, device) = match (&node.body, linked) {
        (_, Some(first)) => (b'1', first, None),
        (Body::File(_), _) => (b'0', &b""[..], None),
        (Body::Symlink(target), _) => (b'2', &target[..], None),
        (Body::Char(device), _) => (b'3', &b""[..], Some(*device)),
        (Body::Block(device), _) => (b'4', &b""[..], Some(*device)),
        (Body::Dir(_), _) => (b'5', &b""[..], None),
        (Body::Fifo, _) => (b'6', &b""[..], None),
        (Body::Socket, _) => unreachable!("sockets are left out"),
    };
    let content = match &node.body {
        Body::File(content) if same_as.is_none() => Some(content),
        _ => None,
    };
    let name = if typeflag == b'5' { [&path[..], b"/"].concat() } else { path.clone() };
    let header = Header {
        name: &name,
        mode: node.stat.mode,
        uid: node.stat.uid,
        gid: node.stat.gid,
        size: content.map_or(0, Content::len),
        mtime: node.stat.mtime,
        typeflag,
        linkname: link,
        device,
    };
    let headers = headers(&header, node);
    Member { path, headers, content, same_as }
}

/// The header, with a PAX header before it if something does not fit.
fn headers(header: &Header, node: &Node) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |keyword: &[u8], value: &[u8]| records.extend(record(keyword, value));
    if !fits(header.name) {
        add(b"path", header.name);
    }
    if !fits(header.linkname) {
        add(b"linkpath", header.linkname);
    }
    for (keyword, number) in [(&b"uid"[..], header.uid), (b"gid", header.gid)] {
        if u64::from(number) > most(8) {
            add(keyword, number.to_string().as_bytes());
        }
    }
    if header.size > most(12) {
        add(b"size", header.size.to_string().as_bytes());
    }
    if !u64::try_from(header.mtime).is_ok_and(|mtime| mtime <= most(12)) {
        add(b"mtime", header.mtime.to_string().as_bytes());
    }
    // A further name of a file has the attributes of the first.
    for (name, value) in node.xattrs.iter().filter(|_| header.typeflag != b'1') {
        add(&[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    let mut headers = Vec::new();
    if !records.is_empty() {
        let name = [b"PaxHeaders/", header.name].concat();
        let pax = Header {
            name: &name,
            mode: 0o644,
            size: records.len() as u64,
            typeflag: PAX,
            ..Header::default()
        };
        headers.extend(pax.encode());
        headers.extend(&records);
        headers.resize(headers.len().next_multiple_of(BLOCK as usize), 0);
    }
    headers.extend(header.encode());
    headers
}

/// Returns whether a name can be in a header: short, and of letters that every reader takes for the same.
fn fits(name: &[u8]) -> bool {
    name.len() <= NAME_LEN && (name.is_ascii() || std::str::from_utf8(name).is_err())
}
