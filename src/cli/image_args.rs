//! Flags that say which ready image is copied, and what is known about it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::bmap::Bmap;
use crate::error::{Io, Result};
use crate::report::Report;
use crate::source::Image;
use crate::source::{Expected, ImageLocation, Sha256Sum, companion, sum_beside};
use crate::value::ByteSize;

/// A ready image.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Copy this ready image instead of composing: a file, `-` for standard input, or an https address. It may be
    /// packed (gzip, xz, zstd, bzip2, lz4, zip). FILE.bmap beside it says what can be left out, FILE.sha256 what its
    /// SHA-256 is.
    #[arg(
        long,
        value_name = "FILE|-|URL",
        value_parser = place,
        conflicts_with_all = [
            "arch", "source", "images", "seed", "partuuid", "threads", "verify_output", "strict", "ssh_keys", "hostname",
            "wifi", "persist_dir", "container_images", "slots",
        ]
    )]
    image: Option<ImageLocation>,

    /// SHA-256 of the image as it is given, packed or not; an address needs one.
    #[arg(long, value_name = "HEX", requires = "image")]
    sha256: Option<Sha256Sum>,

    /// Memory that unpacking the image may take, without it 256MiB; streams of zstd --long=31 need 2GiB.
    #[arg(long, value_name = "SIZE", requires = "image")]
    unpack_memory: Option<ByteSize>,

    /// Block map of the image (unpacked), in the format of bmaptool.
    #[arg(long, value_name = "FILE", requires = "image")]
    bmap: Option<PathBuf>,
}

/// An address, `-`, or a path.
fn place(text: &str) -> std::result::Result<ImageLocation, std::convert::Infallible> {
    Ok(match text {
        "-" => ImageLocation::Stdin,
        url if url.starts_with("https://") || url.starts_with("http://") => ImageLocation::Url(url.into()),
        path => ImageLocation::File(path.into()),
    })
}

impl ImageArgs {
    /// The image, if one was given: opened, with its first MiB looked at and nothing else checked.
    pub fn open(&self, report: &Report) -> Result<Option<Image>> {
        let Some(place) = &self.image else { return Ok(None) };
        let bmap = self.bmap.clone().or_else(|| self.path().and_then(|path| companion(path, ".bmap")));
        let bmap = bmap.as_deref().map(read_bmap).transpose()?;
        let sha256 = match (self.sha256, self.path()) {
            (Some(sum), _) => Some(Expected::Given(sum)),
            (None, Some(path)) => sum_beside(path)?,
            (None, None) => None,
        };
        let image = Image::from_location(place, bmap, sha256, self.unpack_memory.map(|size| size.0))?;
        if let Some(Expected::Given(sum) | Expected::Decoded(sum)) = sha256.filter(|_| self.sha256.is_none())
        {
            report.note(format!("the SHA-256 of the image must be {sum}, as the file beside it says"));
        }
        Ok(Some(image))
    }

    /// The image, if it is a file.
    pub fn path(&self) -> Option<&Path> {
        match &self.image {
            Some(ImageLocation::File(path)) => Some(path),
            _ => None,
        }
    }
}

fn read_bmap(path: &Path) -> Result<Bmap> {
    Ok(Bmap::parse(&std::fs::read_to_string(path).map_err(Io::on("read", path))?)?)
}
