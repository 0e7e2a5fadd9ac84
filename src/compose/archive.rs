//! Archives that are the whole output: composed before the plan, because their length is that of the plan.

use std::io::Write;

use sha2::{Digest as _, Sha256};

use super::Payload;
use crate::board;
use crate::error::Result;
use crate::fs::WrittenFile;
use crate::fs::compress::{Compression, Encoder};
use crate::fs::oci::{self, Layer};
use crate::fs::tar::{self, Plain, Sparse, TarError};
use crate::stage::Inputs;
use crate::storage::{Region, RegionWriter, Scratch};
use crate::tree::{Content, Tree};

/// A tar archive of `tree`.
pub(super) fn tar(tree: &Tree, compression: Compression, name: &str) -> Result<Payload> {
    let (content, files) = to_scratch(name, |writer| {
        let layout = tar::layout(tree);
        match compression {
            Compression::None => tar::write(&layout, &mut Sparse(writer)),
            _ => {
                let mut out = Plain(Encoder::new(compression, writer).map_err(output)?);
                let files = tar::write(&layout, &mut out)?;
                out.0.finish().map_err(output)?;
                Ok(files)
            }
        }
    })?;
    Ok(Payload::Composed { kind: "tar", content, files })
}

/// A container image whose root filesystem is `tree`.
pub(super) fn oci(
    inputs: &Inputs,
    tree: &Tree,
    compression: Compression,
    oci: &board::Oci,
    name: &str,
) -> Result<Payload> {
    let layer = layer(tree, compression, name)?;
    let layout = oci::tree(&layer, oci, inputs.arch, inputs.timestamp)?;
    match tar(&layout, Compression::None, name)? {
        Payload::Composed { content, files, .. } => Ok(Payload::Composed { kind: "oci", content, files }),
        payload => Ok(payload),
    }
}

fn layer(tree: &Tree, compression: Compression, name: &str) -> Result<Layer> {
    let mut digests = None;
    let (content, _) = to_scratch(name, |writer| {
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
    write: impl FnOnce(&mut RegionWriter<'_>) -> Result<Vec<WrittenFile>, TarError>,
) -> Result<(Content, Vec<WrittenFile>)> {
    let scratch = Scratch::new(u64::MAX / 2)?;
    let region = Region::whole(&scratch, name);
    let mut writer = region.writer(0);
    let files = write(&mut writer)?;
    let len = writer.finish()?;
    drop(region);
    Ok((scratch.into_content(len)?, files))
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
