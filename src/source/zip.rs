//! The one image in a zip file. From a file it is found by the directory at its end; a stream has none until it is
//! over, so there the headers before the members are followed.
//!
//! Format: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5.

use std::fs::File;
use std::io::{self, Read, Take};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use zip::ZipArchive;

use super::input::Input;

/// Endings of the names of disk images.
const IMAGES: [&str; 10] =
    ["img", "raw", "wic", "iso", "sdcard", "sdimg", "hddimg", "rpi-sdimg", "ext4", "disk"];
/// `local file header signature`, without which the length of what follows is not known.
const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
/// Optional signature of a data descriptor.
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
/// `compression method`s.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// More names than this say nothing more.
const NAMED: usize = 4;

/// Reason why there is not one image in a zip file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Unsupported, hint = "unpack the one that is meant and give that")]
pub enum ZipError {
    /// Its directory is damaged.
    #[error("its directory cannot be read: {0}")]
    #[diagnostic(kind = Corrupt, hint = "get or build the image again")]
    Directory(String),
    /// None of the members is an image.
    #[error("none of its members is an image: {}", list(.0))]
    #[diagnostic(kind = Input)]
    NoImage(Vec<String>),
    /// More than one image.
    #[error("it has {} images: {}", .0.len(), list(.0))]
    #[diagnostic(kind = Input)]
    Several(Vec<String>),
    /// A password is needed.
    #[error("`{0}` is encrypted")]
    Encrypted(String),
    /// Compressed in another way.
    #[error("`{name}` is compressed with method {method}; 0 (stored) and 8 (deflated) can be read")]
    Method {
        /// The member.
        name: String,
        /// Number of the method.
        method: u16,
    },
    /// A stream does not say how long a member is.
    #[error("the length of `{0}` stands behind it, where a stream cannot look")]
    #[diagnostic(hint = "save the zip file and give that")]
    UnknownLength(String),
    /// The bytes are not those that were packed.
    #[error("the CRC-32 of `{name}` is {found:08x}, not {expected:08x}")]
    #[diagnostic(kind = Corrupt, hint = "get or build the image again")]
    Checksum {
        /// The member.
        name: String,
        /// Length or checksum in the zip file.
        expected: u32,
        /// Length or checksum of the unpacked bytes.
        found: u32,
    },
}

fn list(names: &[String]) -> String {
    let named: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMED) {
        _ if names.is_empty() => "there are none".into(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

impl From<ZipError> for io::Error {
    fn from(error: ZipError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Location of a member, and its compression.
#[derive(Clone, Debug)]
pub(super) struct Member {
    name: String,
    /// First byte of its data in the zip file.
    start: u64,
    method: u16,
    packed_len: Option<u64>,
    /// Length of what is in it.
    pub len: Option<u64>,
    crc32: Option<u32>,
}

impl Member {
    /// The image in a zip file, by its directory. The largest counts only if it is the only one: which of two is meant,
    /// nobody can know.
    pub(super) fn find(file: &File) -> Result<Member, ZipError> {
        let directory = |error: zip::result::ZipError| ZipError::Directory(error.to_string());
        let mut archive = ZipArchive::new(file).map_err(directory)?;
        let mut files = Vec::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(directory)?;
            if entry.is_file() {
                files.push((index, entry.name().map_err(directory)?.into_owned()));
            }
        }
        let index = choose(&files)?;
        let entry = archive.by_index_raw(index).map_err(directory)?;
        let name = entry.name().map_err(directory)?.into_owned();
        if entry.encrypted() {
            return Err(ZipError::Encrypted(name));
        }
        let start = entry.data_start().ok_or_else(|| ZipError::Directory("no place of a member".into()))?;
        let method = method_of(entry.compression());
        let (packed_len, len) = (Some(entry.compressed_size()), Some(entry.size()));
        Ok(Member { name, start, method, packed_len, len, crc32: Some(entry.crc32()) })
    }
}

/// The only image, or the only file.
fn choose(files: &[(usize, String)]) -> Result<usize, ZipError> {
    let names = |files: &[&(usize, String)]| files.iter().map(|(_, name)| name.clone()).collect();
    let images: Vec<_> = files.iter().filter(|(_, name)| is_image(name)).collect();
    match (images.as_slice(), files) {
        ([(index, _)], _) | ([], [(index, _)]) => Ok(*index),
        ([], files) => Err(ZipError::NoImage(names(&files.iter().collect::<Vec<_>>()))),
        (images, _) => Err(ZipError::Several(names(images))),
    }
}

/// Returns whether a name is that of an image; what macOS adds for each file is none.
fn is_image(name: &str) -> bool {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end).to_ascii_lowercase();
    IMAGES.contains(&end.as_str()) && !name.starts_with("__MACOSX/")
}

fn method_of(method: zip::CompressionMethod) -> u16 {
    match method {
        zip::CompressionMethod::Stored => STORED,
        #[expect(deprecated, reason = "without its decoders the crate knows methods by their numbers only")]
        zip::CompressionMethod::Unsupported(number) => number,
        // Without its features the crate has no other method.
        _ => u16::MAX,
    }
}

/// Unpacks a member.
pub(super) struct Unzip {
    body: Body,
    member: Member,
    crc: Crc,
    /// Members that a stream had before this one.
    streamed: Option<Vec<String>>,
}

enum Body {
    Stored(Take<Input>),
    Deflated(DeflateDecoder<Take<Input>>),
}

impl Unzip {
    /// A member whose place is known.
    pub(super) fn member(mut input: Input, member: Member) -> io::Result<Unzip> {
        let skip = member.start - input.position().min(member.start);
        if input.skip(skip)? < skip {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Unzip::begin(input, member, None)
    }

    /// The first image of a stream.
    pub(super) fn first_image(mut input: Input) -> io::Result<Unzip> {
        let mut others = Vec::new();
        while let Some(header) = LocalHeader::read(&mut input)? {
            let member = header.into_member()?;
            if is_image(&member.name) {
                return Unzip::begin(input, member, Some(others));
            }
            others.push(member.name.clone());
            input = Unzip::begin(input, member, None)?.pass()?;
        }
        Err(ZipError::NoImage(others).into())
    }

    fn begin(input: Input, member: Member, streamed: Option<Vec<String>>) -> io::Result<Unzip> {
        let body = match (member.method, member.packed_len) {
            (STORED, Some(len)) => Body::Stored(input.take(len)),
            (STORED, None) => return Err(ZipError::UnknownLength(member.name).into()),
            (DEFLATED, len) => Body::Deflated(DeflateDecoder::new(input.take(len.unwrap_or(u64::MAX)))),
            (method, _) => return Err(ZipError::Method { name: member.name, method }.into()),
        };
        Ok(Unzip { body, member, crc: Crc::new(), streamed })
    }

    pub(super) fn position(&self) -> u64 {
        self.input().position()
    }

    fn input(&self) -> &Input {
        match &self.body {
            Body::Stored(take) => take.get_ref(),
            Body::Deflated(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// Goes over a member that nobody wants.
    fn pass(mut self) -> io::Result<Input> {
        io::copy(&mut self, &mut io::sink())?;
        self.close()
    }

    /// Compares the checksum, which stands in the header or behind the member.
    fn close(self) -> io::Result<Input> {
        let take = match self.body {
            Body::Stored(take) => take,
            Body::Deflated(decoder) => decoder.into_inner(),
        };
        let left = take.limit();
        let mut input = take.into_inner();
        if self.member.packed_len.is_some() && left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let expected = match self.member.crc32 {
            Some(crc32) => crc32,
            None => read_descriptor(&mut input)?,
        };
        match self.crc.sum() {
            found if found == expected => Ok(input),
            found => Err(ZipError::Checksum { name: self.member.name, expected, found }.into()),
        }
    }

    /// Compares the checksum, and makes sure that a stream has no other image behind this one.
    pub(super) fn into_rest(mut self) -> io::Result<Input> {
        let (name, streamed) = (self.member.name.clone(), self.streamed.take());
        let mut input = self.close()?;
        if streamed.is_none() {
            return Ok(input);
        }
        let mut images = vec![name];
        while let Some(header) = LocalHeader::read(&mut input)? {
            let member = header.into_member()?;
            images.extend(is_image(&member.name).then(|| member.name.clone()));
            input = Unzip::begin(input, member, None)?.pass()?;
        }
        if images.len() > 1 { Err(ZipError::Several(images).into()) } else { Ok(input) }
    }
}

impl Read for Unzip {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.body {
            Body::Stored(take) => take.read(buf)?,
            Body::Deflated(decoder) => decoder.read(buf)?,
        };
        self.crc.update(&buf[..read]);
        Ok(read)
    }
}

/// Local header of a member.
struct LocalHeader {
    flags: u16,
    method: u16,
    crc32: u32,
    packed_len: u64,
    name: String,
    start: u64,
}

impl LocalHeader {
    /// The next header; none where the directory begins.
    fn read(input: &mut Input) -> io::Result<Option<LocalHeader>> {
        if input.peek(4)? != LOCAL_HEADER {
            return Ok(None);
        }
        let fixed: [u8; 30] = read_array(input)?;
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four bytes"));
        let mut name = vec![0; u16_at(26).into()];
        input.read_exact(&mut name)?;
        let mut extra = vec![0; u16_at(28).into()];
        input.read_exact(&mut extra)?;
        let packed_len = match u32_at(18) {
            u32::MAX => zip64_packed_len(&extra).unwrap_or(u64::from(u32::MAX)),
            len => len.into(),
        };
        let name = String::from_utf8_lossy(&name).into_owned();
        let start = input.position();
        Ok(Some(LocalHeader {
            flags: u16_at(6),
            method: u16_at(8),
            crc32: u32_at(14),
            packed_len,
            name,
            start,
        }))
    }

    fn into_member(self) -> Result<Member, ZipError> {
        let LocalHeader { flags, method, crc32, packed_len, name, start } = self;
        if flags & 1 != 0 {
            return Err(ZipError::Encrypted(name));
        }
        // Bit 3: lengths and checksum follow in a descriptor.
        let behind = flags & 8 != 0;
        let known = |value| (!behind).then_some(value);
        let crc32 = (!behind).then_some(crc32);
        Ok(Member { name, start, method, packed_len: known(packed_len), len: None, crc32 })
    }
}

/// The second of the eight-byte lengths in extra field 1.
fn zip64_packed_len(mut extra: &[u8]) -> Option<u64> {
    while let [a, b, c, d, rest @ ..] = extra {
        let (id, len) = (u16::from_le_bytes([*a, *b]), usize::from(u16::from_le_bytes([*c, *d])));
        if id == 1 {
            return Some(u64::from_le_bytes(rest.get(8..16)?.try_into().ok()?));
        }
        extra = rest.get(len..)?;
    }
    None
}

/// The checksum in a data descriptor, which has a signature or not, and lengths of four or eight bytes: what follows
/// says which.
fn read_descriptor(input: &mut Input) -> io::Result<u32> {
    if input.peek(4)? == DESCRIPTOR {
        input.skip(4)?;
    }
    let crc32 = u32::from_le_bytes(read_array(input)?);
    let next = input.peek(12)?;
    let is_header = |at: usize| next.get(at..at + 2).is_some_and(|mark| mark == b"PK");
    let lens = if is_header(8) { 8 } else { 16 };
    input.skip(lens)?;
    Ok(crc32)
}

fn read_array<const N: usize>(input: &mut Input) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}
