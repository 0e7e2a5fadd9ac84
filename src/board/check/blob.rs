//! Raw bytes and what identifies them.

use super::Checker;
use crate::board::raw::{RawBlob, RawMagic};
use crate::board::{Blob, BlobSource, BoardError, Magic, Update};
use crate::value::from_hex;

impl Checker<'_> {
    pub(super) fn blob(&self, raw: RawBlob) -> Result<Blob, BoardError> {
        let place = format!("blob `{}`", raw.name);
        let source = match (raw.files, raw.artifact) {
            (Some(files), None) if !files.is_empty() => BlobSource::Images(files),
            (Some(_), None) => return Err(self.invalid(place, "`files` is empty")),
            (None, Some(artifact)) => BlobSource::Artifact(artifact),
            _ => return Err(self.invalid(place, "a blob needs either `files` or `artifact`")),
        };
        if let Some((start, end)) = raw.skip.iter().find(|(start, end)| start >= end) {
            return Err(self.invalid(place, format!("skip range [{start}, {end}) is empty")));
        }
        let magic = raw.magic.map(|magic| self.magic(&place, magic)).transpose()?;
        Ok(Blob {
            name: raw.name,
            source,
            offset: raw.offset,
            from: raw.from.unwrap_or_default(),
            limit: raw.limit,
            length: raw.length,
            skip: raw.skip,
            magic,
            hint: raw.hint,
            optional: raw.optional,
            update: raw.update.unwrap_or(Update::Never),
        })
    }

    fn magic(&self, place: &str, raw: RawMagic) -> Result<Magic, BoardError> {
        let bytes = match (raw.text, raw.hex) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(hex)) => parse_hex(&hex)
                .ok_or_else(|| self.invalid(place, format!("magic `{hex}` is not hexadecimal")))?,
            _ => return Err(self.invalid(place, "magic needs either `text` or `hex`")),
        };
        Ok(Magic { at: raw.at, bytes })
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split_ascii_whitespace().collect();
    from_hex(&digits).filter(|bytes| !bytes.is_empty())
}
