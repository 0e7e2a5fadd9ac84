//! A tar archive (`rootfs.tar`) as a [`Tree`]: contents stay in the archive and are named by their offset.
//!
//! Formats: ustar, GNU (long names `L`/`K`) and PAX (POSIX.1-2001 pax, "pax Header Block"), which Buildroot
//! writes. PAX records are parsed here because a `security.capability` value may contain any byte, a newline too.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skiff_signatures::Format;
use tar::{EntryType, Header};

use super::{
    Body, Content, Device, Node, NodeId, Stamp, Stat, Tree, Xattrs, components, display, is_component,
};
use crate::error::{Diagnostic, Io};
use crate::value::is_zero;

/// Size of a tar block, the unit of headers and padding.
const BLOCK: u64 = 512;
/// Larger extension records (long names, PAX) than this are taken for damage.
const MAX_RECORD: u64 = 16 << 20;
/// Metadata of a directory that the archive uses but does not list.
const IMPLIED: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
/// Commands that decompress what an archive can be compressed with.
const COMPRESSED: [(Format, &str); 6] = [
    (Format::Gzip, "gzip -d"),
    (Format::Zstd, "zstd -d"),
    (Format::Xz, "xz -d"),
    (Format::Bzip2, "bzip2 -d"),
    (Format::Lz4, "lz4 -d"),
    (Format::Lzop, "lzop -d"),
];

/// Reason why an archive cannot become a tree.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "make the archive again, or copy it again")]
#[non_exhaustive]
pub enum ArchiveError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The first bytes are those of a compressed file.
    #[error("`{}` is compressed with {format}", path.display())]
    #[diagnostic(kind = Unsupported, hint("decompress it first: {command} `{}`", path.display()))]
    Compressed {
        /// The archive.
        path: PathBuf,
        /// For example `zstd`.
        format: &'static str,
        /// For example `zstd -d`.
        command: &'static str,
    },
    /// The first block is no tar header.
    #[error("`{}` is not a tar archive", .0.display())]
    #[diagnostic(kind = Input, hint = "name the rootfs.tar that BR2_TARGET_ROOTFS_TAR=y makes")]
    NotATar(PathBuf),
    /// The file ends inside a member.
    #[error(
        "`{}` is truncated: the member at byte {at} (`{member}`) ends at byte {need}, the file at byte {have}",
        path.display()
    )]
    Truncated {
        /// The archive.
        path: PathBuf,
        /// Offset of the member's header.
        at: u64,
        /// Its name, if known.
        member: String,
        /// End of the member in bytes.
        need: u64,
        /// Length of the file.
        have: u64,
    },
    /// The file ends between members, without the zero block that ends an archive.
    #[error("`{}` is truncated: it ends at byte {have} without the end-of-archive block", path.display())]
    NoEnd {
        /// The archive.
        path: PathBuf,
        /// Length of the file.
        have: u64,
    },
    /// A header contradicts itself or what came before it.
    #[error("`{}`: member at byte {at}: {problem}", path.display())]
    BadMember {
        /// The archive.
        path: PathBuf,
        /// Offset of the member's header.
        at: u64,
        /// Description of the problem.
        problem: String,
    },
    /// A well-formed member this program cannot take.
    #[error("`{}`: member at byte {at}: `{member}` is stored as a {kind}, which is not supported", path.display())]
    #[diagnostic(kind = Unsupported, hint = "make the archive with: tar --format=posix")]
    Unsupported {
        /// The archive.
        path: PathBuf,
        /// Offset of the member's header.
        at: u64,
        /// Path of the member.
        member: String,
        /// Type of the member.
        kind: String,
    },
}

/// Reads the archive at `path`.
///
/// ```
/// use skiff_disk::tree::archive::read_archive;
/// # use skiff_disk::fs::tar;
/// # use skiff_disk::tree::{Body, Node, Stat, Tree};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("rootfs.tar");
/// # let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
/// # let mut made = Tree::new(stat);
/// # made.insert(Tree::ROOT, b"etc", Node::new(stat, Body::Dir(Default::default())));
/// # tar::write(&tar::layout(&made), &mut tar::Plain(std::fs::File::create(&path)?))?;
/// let tree = read_archive(&path)?;
/// assert!(tree.get("etc").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_archive(path: &Path) -> Result<Tree, ArchiveError> {
    let file = File::open(path).map_err(Io::on("open", path))?;
    let metadata = file.metadata().map_err(Io::on("look at", path))?;
    let mut reader = Reader {
        file,
        path: path.into(),
        len: metadata.len(),
        stamp: Stamp::from_metadata(&metadata),
        at: 0,
        member: Member::default(),
        globals: Records::new(),
        tree: Tree::new(IMPLIED),
    };
    reader.ensure_tar()?;
    while reader.next_header()? {}
    Ok(reader.tree)
}

/// PAX records: keyword to value.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Facts of extension headers about the member that follows them.
#[derive(Default)]
struct Member {
    records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

struct Reader {
    file: File,
    path: Arc<Path>,
    len: u64,
    /// The archive as it was opened.
    stamp: Stamp,
    /// Offset of the next header.
    at: u64,
    member: Member,
    globals: Records,
    tree: Tree,
}

impl Reader {
    fn ensure_tar(&self) -> Result<(), ArchiveError> {
        let mut start = [0; BLOCK as usize];
        let have = self.len.min(BLOCK) as usize;
        self.read(&mut start[..have], 0)?;
        if let Some((format, command)) = COMPRESSED.iter().find(|(format, _)| format.begins(&start)) {
            let (path, format) = (self.path.to_path_buf(), format.name());
            return Err(ArchiveError::Compressed { path, format, command });
        }
        let zero = is_zero(&start);
        if have < BLOCK as usize || !(zero || checksum_holds(Header::from_byte_slice(&start))) {
            return Err(ArchiveError::NotATar(self.path.to_path_buf()));
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), ArchiveError> {
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
        let data = at + BLOCK;
        let end = data.checked_add(size).ok_or_else(|| self.bad("the size is larger than any file"))?;
        if end > self.len {
            let (path, member) = (self.path.to_path_buf(), display_trimmed(&self.name(header)));
            return Err(ArchiveError::Truncated { path, at, member, need: end, have: self.len });
        }
        match header.entry_type() {
            EntryType::XHeader => {
                self.member.records = parse_records(&self.record(data, size)?)
                    .ok_or_else(|| self.bad("the PAX records are malformed"))?
            }
            EntryType::XGlobalHeader => {
                let records = parse_records(&self.record(data, size)?);
                self.globals.extend(records.ok_or_else(|| self.bad("the PAX records are malformed"))?);
            }
            EntryType::GNULongName => self.member.long_name = Some(until_nul(self.record(data, size)?)),
            EntryType::GNULongLink => self.member.long_link = Some(until_nul(self.record(data, size)?)),
            _ => {
                self.place(header, data, size)?;
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

    /// The PAX record for the current member.
    fn pax(&self, key: &str) -> Option<&[u8]> {
        let value = self.member.records.get(key.as_bytes()).or_else(|| self.globals.get(key.as_bytes()));
        value.map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    /// A decimal PAX record; fractions are cut towards the past.
    fn pax_number(&self, key: &str) -> Result<Option<i64>, ArchiveError> {
        let Some(value) = self.pax(key) else { return Ok(None) };
        let text = String::from_utf8_lossy(value);
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let before = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
        match whole.parse::<i64>() {
            Ok(number) => Ok(Some(number.saturating_sub(i64::from(before)))),
            Err(_) => Err(self.bad(format!("the PAX record `{key}` is `{text}`, not a number"))),
        }
    }

    fn pax_id(&self, key: &str) -> Result<Option<u32>, ArchiveError> {
        let Some(number) = self.pax_number(key)? else { return Ok(None) };
        let id = u32::try_from(number);
        id.map(Some).map_err(|_| self.bad(format!("the PAX record `{key}` is `{number}`, not an id")))
    }

    fn size(&self, header: &Header) -> Result<u64, ArchiveError> {
        let extension = matches!(
            header.entry_type(),
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
        );
        match self.pax_number("size")? {
            Some(size) if !extension => {
                u64::try_from(size).map_err(|_| self.bad(format!("the PAX record `size` is `{size}`")))
            }
            _ => header.entry_size().map_err(|error| self.bad(error)),
        }
    }

    fn name(&self, header: &Header) -> Vec<u8> {
        let long = self.pax("path").map(<[u8]>::to_vec).or_else(|| self.member.long_name.clone());
        long.unwrap_or_else(|| header.path_bytes().into_owned())
    }

    fn link_name(&self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let long = self.pax("linkpath").map(<[u8]>::to_vec).or_else(|| self.member.long_link.clone());
        let name = long.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        name.ok_or_else(|| self.bad("a link without a target"))
    }

    /// Puts a member into the tree.
    fn place(&mut self, header: &Header, data: u64, size: u64) -> Result<(), ArchiveError> {
        let name = self.name(header);
        let path = self.member_path(&name)?;
        let Some((last, parents)) = path.split_last() else {
            let stat = self.stat(header)?;
            let xattrs = self.xattrs();
            let root = self.tree.node_mut(Tree::ROOT);
            (root.stat, root.xattrs) = (stat, xattrs);
            return Ok(());
        };
        let dir = self.parent(parents)?;
        if header.entry_type() == EntryType::Link {
            let target = self.hard_link_target(header)?;
            self.tree.link(dir, last, target);
            return Ok(());
        }
        let mut node = Node {
            stat: self.stat(header)?,
            xattrs: self.xattrs(),
            body: self.body(header, &name, data, size)?,
        };
        if let (Body::Dir(entries), Some(old)) = (&mut node.body, self.tree.child(dir, last))
            && let Some(listed) = self.tree.node(old).entries()
        {
            entries.clone_from(listed);
        }
        self.tree.insert(dir, last, node);
        Ok(())
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

    /// `SCHILY.xattr.NAME` records; GNU tar writes `%` and `=` in names as `%25` and `%3D`.
    fn xattrs(&self) -> Xattrs {
        let records = self.member.records.iter();
        let named = records.filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?, value)));
        let decode = |name: &[u8]| replace(&replace(name, b"%3D", b"="), b"%25", b"%");
        named
            .map(|(name, value)| (decode(name).into(), value.as_slice().into()))
            .filter(|(name, _): &(Box<[u8]>, _)| !super::scan::is_host_xattr(name))
            .collect()
    }

    fn body(&self, header: &Header, name: &[u8], data: u64, size: u64) -> Result<Body, ArchiveError> {
        let device = || -> Result<Device, ArchiveError> {
            let major = header.device_major().map_err(|error| self.bad(error))?.unwrap_or(0);
            let minor = header.device_minor().map_err(|error| self.bad(error))?.unwrap_or(0);
            Ok(Device { major, minor })
        };
        if self.member.records.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Err(self.unsupported(name, "sparse file"));
        }
        Ok(match header.entry_type() {
            EntryType::Directory => Body::Dir(BTreeMap::new()),
            EntryType::Regular if name.ends_with(b"/") => Body::Dir(BTreeMap::new()),
            EntryType::Regular | EntryType::Continuous => {
                Body::File(Content::stamped(self.path.clone(), data, size, self.stamp))
            }
            EntryType::Symlink => Body::Symlink(self.link_name(header)?.into()),
            EntryType::Char => Body::Char(device()?),
            EntryType::Block => Body::Block(device()?),
            EntryType::Fifo => Body::Fifo,
            EntryType::GNUSparse => return Err(self.unsupported(name, "sparse file")),
            other => {
                let kind = format!("member of type `{}`", [other.as_byte()].escape_ascii());
                return Err(self.unsupported(name, &kind));
            }
        })
    }

    fn bad(&self, problem: impl ToString) -> ArchiveError {
        ArchiveError::BadMember { path: self.path.to_path_buf(), at: self.at, problem: problem.to_string() }
    }

    fn unsupported(&self, name: &[u8], kind: &str) -> ArchiveError {
        let (path, member) = (self.path.to_path_buf(), display_trimmed(name));
        ArchiveError::Unsupported { path, at: self.at, member, kind: kind.into() }
    }
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

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(tail) => {
                replaced.extend_from_slice(to);
                rest = tail;
            }
            None => {
                replaced.push(*first);
                rest = tail;
            }
        }
    }
    replaced
}

/// `LEN KEY=VALUE\n` records, where LEN counts the whole record.
fn parse_records(mut bytes: &[u8]) -> Option<Records> {
    let mut records = Records::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        bytes = &bytes[len..];
    }
    Some(records)
}

#[cfg(test)]
mod tests;
