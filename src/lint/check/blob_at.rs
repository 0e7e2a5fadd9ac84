//! The check that a blob is where a boot ROM or an earlier stage looks for it.
//!
//! A rule mostly knows its blob by `magic`. A blob that has the right place but no `magic`, or another one, is therefore
//! no stranger: what is missing is said, and not that nothing is there.

use super::super::medium::{PlannedBlob, PlannedMedium};
use super::Violation;
use crate::board::{Blob, BlobSelector, Magic, SocOffsets};
use crate::value::{ByteSize, to_hex};

/// A blob and where it may start.
pub(super) struct Place<'r> {
    pub(super) blob: &'r BlobSelector,
    /// Whatever the SoC is.
    pub(super) offsets: &'r [ByteSize],
    pub(super) of_socs: &'r [SocOffsets],
    /// Offset of the magic in the file.
    pub(super) magic_at: ByteSize,
}

impl Place<'_> {
    pub(super) fn violations(&self, medium: &PlannedMedium<'_>, required: bool) -> Vec<Violation> {
        let offsets = self.allowed(medium);
        let found: Vec<&PlannedBlob<'_>> = self.blob.select(medium).collect();
        if found.is_empty() {
            let declared = &medium.board.blobs;
            let optional = declared.iter().any(|blob| blob.optional && self.blob.matches(blob));
            return if required && !optional { vec![self.missing(medium, &offsets)] } else { Vec::new() };
        }
        let wrong = found.into_iter().filter(|written| !offsets.contains(&written.blob.offset));
        wrong.map(|written| self.elsewhere(medium, written.blob, &offsets).into()).collect()
    }

    /// The offsets for the SoC of the board.
    fn allowed(&self, medium: &PlannedMedium<'_>) -> Vec<ByteSize> {
        let soc = medium.board.soc.as_deref();
        let names_it = |some: &&SocOffsets| {
            some.name.iter().any(|name| soc.is_some_and(|soc| soc.eq_ignore_ascii_case(name)))
        };
        let more = self.of_socs.iter().filter(names_it).flat_map(|some| &some.offset);
        self.offsets.iter().chain(more).copied().collect()
    }

    fn elsewhere(&self, medium: &PlannedMedium<'_>, blob: &Blob, offsets: &[ByteSize]) -> String {
        let (name, start) = (&blob.name, blob.offset);
        let told = format!("blob `{name}` starts at {start} but must start at {}", listed(offsets));
        match &medium.board.soc {
            _ if self.of_socs.is_empty() => told,
            Some(soc) => format!("{told} for a `{soc}`"),
            None => format!("{told}, since the board names no SoC"),
        }
    }

    fn missing(&self, medium: &PlannedMedium<'_>, offsets: &[ByteSize]) -> Violation {
        let (key, wanted) = (self.key(), self.blob.describe());
        let mut in_place = medium.blobs.iter().map(|written| written.blob);
        let Some(Blob { name, offset, magic, .. }) = in_place.find(|blob| offsets.contains(&blob.offset))
        else {
            let offsets = listed(offsets);
            return Violation {
                found: format!("no blob {wanted} at {offsets}"),
                hint: Some(format!("add a `[[blob]]` with `{key}` at {offsets}")),
            };
        };
        let found = match (self.blob, magic) {
            (BlobSelector::Name(_), _) => format!("blob `{name}` at {offset} must be one {wanted}"),
            (_, None) => format!("blob `{name}` at {offset} has no `magic`, by which the rule knows it"),
            (_, Some(magic)) => {
                let magic = shown(magic);
                format!("blob `{name}` at {offset} has the magic {magic} but must be one {wanted}")
            }
        };
        Violation { found, hint: Some(format!("give blob `{name}` `{key}`")) }
    }

    /// The key of a descriptor by which the rule knows the blob.
    fn key(&self) -> String {
        let at = self.magic_at.0;
        let at = if at == 0 { String::new() } else { format!("at = {at}, ") };
        match self.blob {
            BlobSelector::Magic(text) => format!("magic = {{ {at}text = \"{text}\" }}"),
            BlobSelector::Hex(digits) => format!("magic = {{ {at}hex = \"{digits}\" }}"),
            BlobSelector::Name(names) => format!("name = \"{}\"", names.join("\" or \"")),
        }
    }
}

fn listed(offsets: &[ByteSize]) -> String {
    offsets.iter().map(ByteSize::to_string).collect::<Vec<_>>().join(" or ")
}

/// A magic as text where it is text.
fn shown(magic: &Magic) -> String {
    match std::str::from_utf8(&magic.bytes) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => format!("`{text}`"),
        _ => to_hex(&magic.bytes),
    }
}
