//! Archives and images around one file: as long as they turn out.

use std::io::Write;

use sha2::{Digest as _, Sha256};

use super::Composed;
use crate::boot::uimage::{self, UImageOptions};
use crate::error::Result;
use crate::fs::compress::{Compression, Encoder};
use crate::fs::oci::{self, Layer, Oci};
use crate::fs::tar::{self, Plain, Sparse, TarError};
use crate::fs::{WrittenFile, cpio};
use crate::storage::{Region, RegionWriter, Scratch};
use crate::tree::{Content, Tree};
use crate::value::{Arch, Timestamp};

/// The cpio archive of `layout`; `name` is its name for messages.
pub(crate) fn cpio(layout: &cpio::Layout<'_>, compression: Compression, name: &str) -> Result<Composed> {
    to_scratch(name, |writer| Ok(cpio::write(layout, compression, writer)?.files))
}

/// A U-Boot legacy image of type ramdisk around `inner`.
pub(crate) fn ramdisk(options: &UImageOptions, inner: &Content, name: &str) -> Result<Content> {
    let composed = to_scratch(name, |writer| {
        uimage::ramdisk(options, inner, writer)?;
        Ok(Vec::new())
    })?;
    Ok(composed.content)
}

/// A tar archive of `tree`.
pub(crate) fn tar(tree: &Tree, compression: Compression, name: &str) -> Result<Composed> {
    to_scratch(name, |writer| {
        let layout = tar::layout(tree);
        if compression == Compression::None {
            return Ok(tar::write(&layout, &mut Sparse(writer))?);
        }
        let mut out = Plain(Encoder::new(compression, writer).map_err(output)?);
        let files = tar::write(&layout, &mut out)?;
        out.0.finish().map_err(output)?;
        Ok(files)
    })
}

/// A container image whose root filesystem is `tree`.
pub(crate) fn oci(
    tree: &Tree,
    compression: Compression,
    oci: &Oci,
    (arch, timestamp): (Arch, Timestamp),
    name: &str,
) -> Result<Composed> {
    let layer = layer(tree, compression, name)?;
    tar(&oci::tree(&layer, oci, arch, timestamp)?, Compression::None, name)
}

fn layer(tree: &Tree, compression: Compression, name: &str) -> Result<Layer> {
    let mut digests = None;
    let Composed { content, .. } = to_scratch(name, |writer| {
        let encoder = Encoder::new(compression, Hashed::new(writer)).map_err(output)?;
        let mut plain = Plain(Hashed::new(encoder));
        let files = tar::write(&tar::layout(tree), &mut plain)?;
        let Hashed { inner, hasher } = plain.0;
        let diff_id = hasher.finalize().into();
        digests = Some((diff_id, inner.finish().map_err(output)?.hasher.finalize().into()));
        Ok(files)
    })?;
    let (diff_id, digest) = digests.expect("an archive that was written has a digest");
    Ok(Layer { content, compression, digest, diff_id })
}

fn to_scratch(
    name: &str,
    write: impl FnOnce(&mut RegionWriter<'_>) -> Result<Vec<WrittenFile>>,
) -> Result<Composed> {
    let scratch = Scratch::new(u64::MAX / 2)?;
    let region = Region::whole(&scratch, name);
    let mut writer = region.writer(0);
    let files = write(&mut writer)?;
    let len = writer.finish()?;
    drop(region);
    Ok(Composed { content: scratch.into_content(len)?, files })
}

fn output(source: std::io::Error) -> TarError {
    TarError::Output { source }
}

/// Computes the SHA-256 of what passes.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
}

impl<W> Hashed<W> {
    fn new(inner: W) -> Hashed<W> {
        Hashed { inner, hasher: Sha256::new() }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(buf)?;
        self.hasher.update(&buf[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
