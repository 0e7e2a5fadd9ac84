//! From the headers of an archive to nodes.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use skiff_signatures::Format;
use tar::{EntryType, Header};

use super::attributes::Attributes;
use super::contents::Stored;
use super::pax::{self, Records};
use super::{ArchiveError, BLOCK, COMPRESSED, IMPLIED, MAX_RECORD};
use crate::error::Io;
use crate::tree::omitted::Omissions;
use crate::tree::{Body, Device, Node, NodeId, Stamp, Stat, Tree, components, display, is_component};
use crate::value::is_zero;

/// `typeflag` of a directory with a list of names as its data, of GNU tar's incremental archives.
const DUMP_DIRECTORY: u8 = b'D';

/// Facts of extension headers about the member that follows them.
#[derive(Default)]
pub(super) struct Member {
    pub records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

/// An access list as a text, whose names have their ids in account files that come later.
pub(super) struct Listed {
    pub node: NodeId,
    pub path: Vec<u8>,
    /// Name of the extended attribute.
    pub name: &'static [u8],
    pub text: String,
    /// Offset of the member's header.
    pub at: u64,
}

pub(super) struct Reader {
    pub(super) file: File,
    pub(super) path: Arc<Path>,
    pub(super) len: u64,
    /// The archive as it was opened.
    pub(super) stamp: Stamp,
    /// Offset of the next header.
    pub(super) at: u64,
    pub(super) member: Member,
    globals: Records,
    pub(super) tree: Tree,
    pub(super) lists: Vec<Listed>,
    pub(super) omissions: Omissions,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Reader, ArchiveError> {
        let file = File::open(path).map_err(Io::on("open", path))?;
        let metadata = file.metadata().map_err(Io::on("look at", path))?;
        let reader = Reader {
            file,
            path: path.into(),
            len: metadata.len(),
            stamp: Stamp::from_metadata(&metadata),
            at: 0,
            member: Member::default(),
            globals: Records::default(),
            tree: Tree::new(IMPLIED),
            lists: Vec::new(),
            omissions: Omissions::default(),
        };
        reader.ensure_tar()?;
        Ok(reader)
    }

    /// All members as a tree.
    pub(super) fn tree(mut self) -> Result<Tree, ArchiveError> {
        while self.next_header()? {}
        self.attach_lists()?;
        self.tree.omit(self.omissions.sentences());
        Ok(self.tree)
    }

    fn ensure_tar(&self) -> Result<(), ArchiveError> {
        let mut start = [0; BLOCK as usize];
        let have = self.len.min(BLOCK) as usize;
        self.read(&mut start[..have], 0)?;
        if let Some((format, command)) = COMPRESSED.iter().find(|(format, _)| format.begins(&start)) {
            let (path, format) = (self.path.to_path_buf(), Format::name(*format));
            return Err(ArchiveError::Compressed { path, format, command });
        }
        let zero = is_zero(&start);
        if have < BLOCK as usize || !(zero || checksum_holds(Header::from_byte_slice(&start))) {
            return Err(ArchiveError::NotATar(self.path.to_path_buf()));
        }
        Ok(())
    }

    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), ArchiveError> {
        Ok(self.file.read_exact_at(buffer, at).map_err(Io::on("read", &self.path))?)
    }

    /// Takes one header and its data; false at the end of the archive.
    fn next_header(&mut self) -> Result<bool, ArchiveError> {
        let at = self.at;
        if at + BLOCK > self.len {
            return Err(ArchiveError::NoEnd { path: self.path.to_path_buf(), have: self.len });
        }
        let mut block = [0; BLOCK as usize];
        self.read(&mut block, at)?;
        if is_zero(&block) {
            return Ok(false);
        }
        let header = Header::from_byte_slice(&block);
        if !checksum_holds(header) {
            return Err(self.bad("the header checksum is wrong"));
        }
        let size = self.size(header)?;
        let mut data = at + BLOCK;
        let map = match header.entry_type() {
            EntryType::GNUSparse => Some(self.old_sparse_map(&block, &mut data)?),
            _ => None,
        };
        let end = data.checked_add(size).ok_or_else(|| self.bad("the size is larger than any file"))?;
        if end > self.len {
            let (path, member) = (self.path.to_path_buf(), display_trimmed(&self.name(header)));
            return Err(ArchiveError::Truncated { path, at, member, need: end, have: self.len });
        }
        match header.entry_type() {
            EntryType::XHeader => self.member.records = self.records(data, size)?,
            EntryType::XGlobalHeader => self.globals.extend(self.records(data, size)?),
            EntryType::GNULongName => self.member.long_name = Some(until_nul(self.record(data, size)?)),
            EntryType::GNULongLink => self.member.long_link = Some(until_nul(self.record(data, size)?)),
            _ => {
                self.place(header, Stored { data, size, map })?;
                self.member = Member::default();
            }
        }
        self.at = end.next_multiple_of(BLOCK);
        Ok(true)
    }

    /// The data of an extension header.
    fn record(&self, at: u64, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > MAX_RECORD {
            return Err(
                self.bad(format!("an extension header of {size} bytes (at most {MAX_RECORD} are read)"))
            );
        }
        let mut bytes = vec![0; size as usize];
        self.read(&mut bytes, at)?;
        Ok(bytes)
    }

    fn records(&self, at: u64, size: u64) -> Result<Records, ArchiveError> {
        Records::parse(&self.record(at, size)?).ok_or_else(|| self.bad("the PAX records are malformed"))
    }

    /// The PAX record for the current member.
    fn pax(&self, key: &str) -> Option<&[u8]> {
        let value = self.member.records.get(key.as_bytes()).or_else(|| self.globals.get(key.as_bytes()));
        value.filter(|value| !value.is_empty())
    }

    /// A decimal PAX record; fractions are cut towards the past.
    fn pax_number(&self, key: &str) -> Result<Option<i64>, ArchiveError> {
        let Some(value) = self.pax(key) else { return Ok(None) };
        let text = String::from_utf8_lossy(value);
        let number = pax::seconds(&text);
        number.map(Some).ok_or_else(|| self.bad(format!("the PAX record `{key}` is `{text}`, not a number")))
    }

    fn pax_id(&self, key: &str) -> Result<Option<u32>, ArchiveError> {
        let Some(number) = self.pax_number(key)? else { return Ok(None) };
        let id = u32::try_from(number);
        id.map(Some).map_err(|_| self.bad(format!("the PAX record `{key}` is `{number}`, not an id")))
    }

    /// Bytes of data behind a header. Links, directories and devices have none, whatever the field says: writers leave
    /// there what stat(2) said, and GNU tar reads no data for them.
    fn size(&self, header: &Header) -> Result<u64, ArchiveError> {
        let kind = header.entry_type();
        let extension = matches!(
            kind,
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
        );
        if !extension && (is_without_data(kind) || self.is_directory(header)) {
            return Ok(0);
        }
        match self.pax_number("size")? {
            Some(size) if !extension => {
                u64::try_from(size).map_err(|_| self.bad(format!("the PAX record `size` is `{size}`")))
            }
            _ => header.entry_size().map_err(|error| self.bad(error)),
        }
    }

    /// Directories of old archives are files whose name ends with a slash.
    fn is_directory(&self, header: &Header) -> bool {
        header.entry_type() == EntryType::Regular && self.name(header).ends_with(b"/")
    }

    fn name(&self, header: &Header) -> Vec<u8> {
        let long = self.pax("GNU.sparse.name").or_else(|| self.pax("path")).map(<[u8]>::to_vec);
        let long = long.or_else(|| self.member.long_name.clone());
        long.unwrap_or_else(|| header.path_bytes().into_owned())
    }

    fn link_name(&self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let long = self.pax("linkpath").map(<[u8]>::to_vec).or_else(|| self.member.long_link.clone());
        let name = long.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        name.ok_or_else(|| self.bad("a link without a target"))
    }

    /// Puts a member into the tree.
    fn place(&mut self, header: &Header, stored: Stored) -> Result<(), ArchiveError> {
        let name = self.name(header);
        let names = self.member_path(&name)?;
        let path = names.join(&b'/');
        if header.entry_type() == EntryType::Link {
            let Some((last, parents)) = names.split_last() else {
                return Err(self.bad("a hard link in the place of the root directory"));
            };
            let dir = self.parent(parents)?;
            let target = self.hard_link_target(header)?;
            self.ensure_replaceable(dir, last, &path, "hard link")?;
            self.tree.link(dir, last, target);
            return Ok(());
        }
        let attributes =
            Attributes::from_records(&self.member.records).map_err(|problem| self.bad(problem))?;
        let body = self.body(header, &name, stored)?;
        let mut node = Node { stat: self.stat(header)?, xattrs: attributes.xattrs, body };
        for what in attributes.lost {
            self.omissions.add(&path, what);
        }
        self.normalise_lists(&mut node, &path)?;
        let id = self.insert(&names, &path, node)?;
        let at = self.at;
        let listed = |(name, text)| Listed { node: id, path: path.clone(), name, text, at };
        self.lists.extend(attributes.lists.into_iter().map(listed));
        Ok(())
    }

    fn insert(&mut self, names: &[Vec<u8>], path: &[u8], mut node: Node) -> Result<NodeId, ArchiveError> {
        let Some((last, parents)) = names.split_last() else {
            let kind = node.body.kind();
            let root = self.tree.node_mut(Tree::ROOT);
            (root.stat, root.xattrs) = (node.stat, node.xattrs);
            return match node.body {
                Body::Dir(_) => Ok(Tree::ROOT),
                _ => Err(self.bad(format!("a {kind} in the place of the root directory"))),
            };
        };
        let dir = self.parent(parents)?;
        match &mut node.body {
            Body::Dir(entries) => {
                let listed = self.tree.child(dir, last).and_then(|old| self.tree.node(old).entries());
                listed.into_iter().for_each(|listed| entries.clone_from(listed));
            }
            other => self.ensure_replaceable(dir, last, path, other.kind())?,
        }
        Ok(self.tree.insert(dir, last, node))
    }

    /// A directory with entries gives way to nothing but a directory: GNU tar cannot remove it either.
    fn ensure_replaceable(
        &self,
        dir: NodeId,
        last: &[u8],
        path: &[u8],
        kind: &str,
    ) -> Result<(), ArchiveError> {
        match self.tree.child(dir, last).and_then(|old| self.tree.node(old).entries()).map(BTreeMap::len) {
            None | Some(0) => Ok(()),
            Some(entries) => Err(self.bad(format!(
                "the {kind} `{}` would replace a directory that is not empty (entries: {entries})",
                display(path)
            ))),
        }
    }

    /// The components of a member's name; `./` and leading slashes are dropped.
    fn member_path(&self, name: &[u8]) -> Result<Vec<Vec<u8>>, ArchiveError> {
        let names: Vec<Vec<u8>> = components(name).filter(|name| *name != b".").map(<[u8]>::to_vec).collect();
        match names.iter().find(|name| !is_component(name)) {
            Some(_) => Err(self.bad(format!("the name `{}` leads out of the tree", name.escape_ascii()))),
            None => Ok(names),
        }
    }

    /// The directory of a member; what the archive does not list is made.
    fn parent(&mut self, parents: &[Vec<u8>]) -> Result<NodeId, ArchiveError> {
        let mut dir = Tree::ROOT;
        for name in parents {
            dir = match self.tree.child(dir, name) {
                Some(id) if self.tree.node(id).entries().is_some() => id,
                Some(id) => {
                    let (path, kind) = (display(&parents.join(&b'/')), self.tree.node(id).body.kind());
                    return Err(self.bad(format!("its directory `{path}` leads through a {kind}")));
                }
                None => self.tree.insert(dir, name, Node::new(IMPLIED, Body::Dir(BTreeMap::new()))),
            };
        }
        Ok(dir)
    }

    fn hard_link_target(&self, header: &Header) -> Result<NodeId, ArchiveError> {
        let target = self.link_name(header)?;
        let path = self.member_path(&target)?.join(&b'/');
        match self.tree.get(&path) {
            Some(id) if self.tree.node(id).entries().is_none() => Ok(id),
            _ => Err(self.bad(format!("a hard link to `{}`, which no earlier member is", display(&path)))),
        }
    }

    fn stat(&self, header: &Header) -> Result<Stat, ArchiveError> {
        let number = |value: std::io::Result<u64>| value.map_err(|error| self.bad(error));
        let id = |value: u64| u32::try_from(value).map_err(|_| self.bad(format!("`{value}` is not an id")));
        let mtime = match self.pax_number("mtime")? {
            Some(mtime) => mtime,
            None => number(header.mtime())? as i64,
        };
        Ok(Stat {
            mode: header.mode().map_err(|error| self.bad(error))? & 0o7777,
            uid: self.pax_id("uid")?.map_or_else(|| id(number(header.uid())?), Ok)?,
            gid: self.pax_id("gid")?.map_or_else(|| id(number(header.gid())?), Ok)?,
            mtime,
        })
    }

    fn body(&self, header: &Header, name: &[u8], stored: Stored) -> Result<Body, ArchiveError> {
        let device = || -> Result<Device, ArchiveError> {
            let major = header.device_major().map_err(|error| self.bad(error))?.unwrap_or(0);
            let minor = header.device_minor().map_err(|error| self.bad(error))?.unwrap_or(0);
            Ok(Device { major, minor })
        };
        Ok(match header.entry_type() {
            EntryType::Directory => Body::Dir(BTreeMap::new()),
            _ if self.is_directory(header) => Body::Dir(BTreeMap::new()),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                Body::File(self.content(name, stored)?)
            }
            EntryType::Symlink => Body::Symlink(self.link_name(header)?.into()),
            EntryType::Char => Body::Char(device()?),
            EntryType::Block => Body::Block(device()?),
            EntryType::Fifo => Body::Fifo,
            other if other.as_byte() == DUMP_DIRECTORY => Body::Dir(BTreeMap::new()),
            other => {
                let kind = format!("member of type `{}`", [other.as_byte()].escape_ascii());
                return Err(self.unsupported(name, &kind));
            }
        })
    }

    pub(super) fn bad(&self, problem: impl ToString) -> ArchiveError {
        self.bad_at(self.at, problem)
    }

    pub(super) fn bad_at(&self, at: u64, problem: impl ToString) -> ArchiveError {
        ArchiveError::BadMember { path: self.path.to_path_buf(), at, problem: problem.to_string() }
    }

    pub(super) fn unsupported(&self, name: &[u8], kind: &str) -> ArchiveError {
        let (path, member) = (self.path.to_path_buf(), display_trimmed(name));
        ArchiveError::Unsupported { path, at: self.at, member, kind: kind.into() }
    }
}

/// Returns whether nothing follows a header of this kind.
fn is_without_data(kind: EntryType) -> bool {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    matches!(kind, Link | Symlink | Char | Block | Directory | Fifo)
}

/// The checksum of a header: the sum of its bytes with the checksum field (148..156) as spaces.
fn checksum_holds(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let sum = |range: &[u8]| range.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    header.cksum().is_ok_and(|stored| stored == sum(&bytes[..148]) + 8 * 32 + sum(&bytes[156..]))
}

/// A member's name for messages: absolute and without `./`.
fn display_trimmed(name: &[u8]) -> String {
    let names: Vec<&[u8]> = components(name).filter(|name| *name != b".").collect();
    display(&names.join(&b'/'))
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}
