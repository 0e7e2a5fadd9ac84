//! A ready image, from wherever it comes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Source;
use super::claims::{Claims, Expected};
use super::decode::{Format, LONGEST_MAGIC};
use super::error::ImageError;
use super::glimpse::Glimpse;
use super::kind::ImageKind;
use super::lengths::unpacked_len;
use super::memory::DEFAULT_LIMIT;
use super::objection::{Comparison, Overrides};
use super::origin::{Once, Origin, Seekable};
use super::raw::Raw;
use super::stamp::Stamp;
use super::stream::Stream;
use super::zip::Member;
use crate::bmap::Bmap;
use crate::error::{Io, Result};
use crate::event::Listener;
use crate::network::Download;
use crate::storage::{Geometry, Target};
use crate::table::TableBytes;
use crate::value::Digest;

/// Location of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageLocation {
    /// A file, or a device or pipe with a name.
    File(PathBuf),
    /// Standard input, which can be read once.
    Stdin,
    /// An address; a hash is needed with it.
    Url(String),
}

/// A ready image: raw or packed with gzip, xz, zstd, bzip2, lz4 or zip, by its first bytes.
///
/// ```
/// # fn main() -> skiff_image::Result<()> {
/// use skiff_image::source::{Image, Source};
/// use skiff_image::storage::{Memory, Target};
///
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("disk.img.zst");
/// # std::fs::write(&path, zstd::encode_all([7; 5000].as_slice(), 1).expect("packs")).expect("writes");
/// let image = Image::open(&path, None)?;
/// let memory = Memory::new(1 << 20);
/// image.examine(memory.name(), memory.geometry())?;
/// // All of so small an image is held back, to be written when the rest was read back clean.
/// let critical = image.write(&memory)?;
/// assert_eq!(critical.iter().map(|piece| piece.bytes.len()).sum::<usize>(), 5000);
/// # Ok(())
/// # }
/// ```
pub struct Image {
    body: Body,
    head: Vec<u8>,
}

enum Body {
    Raw(Box<Raw>),
    Stream(Box<Stream>),
}

impl Image {
    /// Opens a file. With a block map only the blocks that it lists are copied.
    pub fn open(path: &Path, bmap: Option<Bmap>) -> Result<Image, ImageError> {
        Image::from_location(&ImageLocation::File(path.into()), bmap, None, None)
    }

    /// Opens an image and looks at its first MiB; `sha256` is what it must be, `memory` are the bytes that its decoder may
    /// take, without it 256 MiB.
    ///
    /// # Errors
    /// It cannot be read or fetched, is packed in a way that cannot be unpacked, or is not what its claims say as far
    /// as this is known already.
    pub fn from_location(
        location: &ImageLocation,
        bmap: Option<Bmap>,
        sha256: Option<Expected>,
        memory: Option<u64>,
    ) -> Result<Image, ImageError> {
        let memory = memory.unwrap_or(DEFAULT_LIMIT);
        let claims = |name: String| Claims::new(name, bmap, sha256, memory);
        match location {
            ImageLocation::File(path) => Image::from_path(path, claims(path.display().to_string())),
            ImageLocation::Stdin => Image::once(Box::new(io::stdin()), claims("standard input".into())),
            ImageLocation::Url(url) => {
                let download = Download::new(url, sha256.is_some())?;
                let claims = claims(download.name().into());
                Image::streamed(Box::new(download), claims, None, None)
            }
        }
    }

    /// An image of which the bytes come once.
    pub fn from_reader(
        name: &str,
        reader: Box<dyn Read + Send>,
        bmap: Option<Bmap>,
        sha256: Option<Expected>,
    ) -> Result<Image, ImageError> {
        Image::once(reader, Claims::new(name.into(), bmap, sha256, DEFAULT_LIMIT))
    }

    fn once(reader: Box<dyn Read + Send>, claims: Claims) -> Result<Image, ImageError> {
        let origin = Once::new(claims.name.clone(), reader);
        Image::streamed(Box::new(origin), claims, None, None)
    }

    fn from_path(path: &Path, claims: Claims) -> Result<Image, ImageError> {
        let mut file = File::open(path).map_err(Io::on("open", path))?;
        let kind = file.metadata().map_err(Io::on("look at", path))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Image::once(Box::new(file), claims);
        }
        let mut start = Vec::new();
        (&mut file).take(LONGEST_MAGIC as u64).read_to_end(&mut start).map_err(Io::on("read", path))?;
        let format = Format::from_start(&start);
        let stamp = Stamp::from_file(&file, path)?;
        if format == Format::Raw && kind.is_file() {
            let raw = Raw::new(path, file, claims)?;
            let head = raw.head()?;
            return Ok(Image { body: Body::Raw(Box::new(raw)), head });
        }
        let zip_error = |error| ImageError::Zip { image: claims.name.clone(), error };
        let member = (format == Format::Zip).then(|| Member::find(&file)).transpose().map_err(zip_error)?;
        let len = match &member {
            Some(member) => member.len,
            None => unpacked_len(&file, stamp.len, format),
        };
        let origin = Seekable { path: path.into(), file: Arc::new(file), stamp };
        Image::streamed(Box::new(origin), claims, member, len)
    }

    fn streamed(
        origin: Box<dyn Origin>,
        claims: Claims,
        member: Option<Member>,
        len: Option<u64>,
    ) -> Result<Image, ImageError> {
        let stream = Stream::open(origin, claims, member, len)?;
        let head = stream.head().to_vec();
        Ok(Image { body: Body::Stream(Box::new(stream)), head })
    }

    fn claims(&self) -> &Claims {
        match &self.body {
            Body::Raw(raw) => raw.claims(),
            Body::Stream(stream) => stream.claims(),
        }
    }

    /// Returns whether all of the image can be looked at before it is copied.
    pub fn is_seekable(&self) -> bool {
        matches!(self.body, Body::Raw(_))
    }

    /// Compression of the image.
    pub fn format(&self) -> Format {
        match &self.body {
            Body::Raw(_) => Format::Raw,
            Body::Stream(stream) => stream.format(),
        }
    }

    /// Purpose of the image; whether it is one at all [`Image::examine`] says.
    pub fn kind(&self) -> Result<ImageKind> {
        Ok(ImageKind::from_head(&self.head)?)
    }

    /// Its first MiB, or all of a shorter one.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Compares the image with its hash and block map, as far as that can be done before it is copied: a file that is
    /// not packed is read. The claims about others are checked while they are copied.
    pub fn check(&self, listener: &dyn Listener) -> Result<(), ImageError> {
        match &self.body {
            Body::Raw(raw) => raw.check(listener),
            Body::Stream(_) => Ok(()),
        }
    }

    /// The same image, to be written although these objections may be raised.
    pub fn despite(mut self, overrides: Overrides) -> Image {
        let claims = match &mut self.body {
            Body::Raw(raw) => raw.claims_mut(),
            Body::Stream(stream) => stream.claims_mut(),
        };
        claims.overrides = overrides;
        self
    }

    /// Compares all that is said about the image, and what it says itself, with each other and with a target, as far as
    /// that is known before it is copied. To be asked before the target, of which this is the name, is touched.
    ///
    /// # Errors
    /// It is larger than the target, or there is an objection that is not overridden.
    pub fn examine(&self, target: &str, geometry: Geometry) -> Result<Comparison> {
        if let Some(need) = self.len().filter(|need| *need > geometry.len) {
            let (image, target) = (self.claims().name.clone(), target.to_owned());
            return Err(ImageError::TooLarge { image, target, need, have: geometry.len }.into());
        }
        let glimpse = match &self.body {
            Body::Raw(raw) => raw.glimpse(&self.head)?,
            Body::Stream(stream) => Glimpse::new(&self.head, stream.len())?,
        };
        self.claims().compare(&glimpse, geometry.sector_size)
    }

    /// Returns warnings about the image that were noticed while it was written; each is returned once.
    pub fn remarks(&self) -> Vec<String> {
        match &self.body {
            Body::Raw(_) => Vec::new(),
            Body::Stream(stream) => stream.remarks(),
        }
    }

    /// Returns what distinguishes the bytes from those of other images: the hash that is checked, else the checksums of
    /// a block map that has one for all that is written, else number, length, times and first MiB of a file. Where only
    /// the last is known, whoever sets the clock back while he writes can make two equal.
    fn fingerprint(&self) -> Option<Vec<u8>> {
        let claims = self.claims();
        let summed = |bmap: &&Bmap| bmap.ranges.iter().all(|range| range.sha256.is_some());
        match (claims.sha256, claims.bmap.as_ref().filter(summed)) {
            (Some(Expected::Given(sum) | Expected::Decoded(sum)), _) => Some(sum.0.to_vec()),
            (None, Some(bmap)) => Some(bmap.to_xml().into_bytes()),
            (None, None) => {
                let stamp = match &self.body {
                    Body::Raw(raw) => raw.stamp().to_bytes(),
                    Body::Stream(stream) => stream.identity()?,
                };
                Some([&stamp, self.head.as_slice()].concat())
            }
        }
    }
}

impl Source for Image {
    fn name(&self) -> String {
        self.claims().name.clone()
    }

    fn len(&self) -> Option<u64> {
        match &self.body {
            Body::Raw(raw) => Some(raw.len()),
            Body::Stream(stream) => stream.len(),
        }
    }

    fn planned(&self) -> Option<u64> {
        match &self.body {
            Body::Raw(raw) => Some(raw.planned()),
            Body::Stream(stream) => stream.planned(),
        }
    }

    fn identity(&self) -> Option<Digest> {
        let map = self.claims().bmap.as_ref().map(Bmap::to_xml).unwrap_or_default();
        let fingerprint = self.fingerprint()?;
        Some(Digest::of(&[map.as_bytes(), &[0], &fingerprint].concat()))
    }

    fn replays(&self) -> bool {
        match &self.body {
            Body::Raw(_) => true,
            Body::Stream(stream) => stream.replays(),
        }
    }

    fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        match &self.body {
            Body::Raw(raw) => raw.write(target),
            Body::Stream(stream) => stream.write(target),
        }
    }
}
