//! The text of a `.bmap` file.

use std::fmt::Write as _;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::{Bmap, BmapError, MappedRange, parse_sha256};
use crate::value::to_hex;

/// `BmapFileChecksum` is computed with zeros in its own place.
const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Bmap {
    /// The text of a `.bmap` file.
    pub fn to_xml(&self) -> String {
        let text = self.to_xml_with(NO_CHECKSUM);
        let checksum = to_hex(&Sha256::digest(text.as_bytes()));
        self.to_xml_with(&checksum)
    }

    fn to_xml_with(&self, checksum: &str) -> String {
        let blocks = |range: &Range<u64>| {
            (range.start / self.block_size, range.end.div_ceil(self.block_size).saturating_sub(1))
        };
        let mapped: u64 = self.ranges.iter().map(|range| blocks(&range.bytes)).map(|(a, b)| b - a + 1).sum();
        let mut xml = String::from("<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n");
        let total = self.image_len.div_ceil(self.block_size);
        for (name, value) in [
            ("ImageSize", self.image_len.to_string()),
            ("BlockSize", self.block_size.to_string()),
            ("BlocksCount", total.to_string()),
            ("MappedBlocksCount", mapped.to_string()),
            ("ChecksumType", "sha256".into()),
            ("BmapFileChecksum", checksum.into()),
        ] {
            let _ = writeln!(xml, "    <{name}> {value} </{name}>");
        }
        xml.push_str("    <BlockMap>\n");
        for range in &self.ranges {
            let (first, last) = blocks(&range.bytes);
            let checksum =
                range.sha256.map(|sum| format!(" chksum=\"{}\"", to_hex(&sum))).unwrap_or_default();
            let place = if first == last { first.to_string() } else { format!("{first}-{last}") };
            let _ = writeln!(xml, "        <Range{checksum}> {place} </Range>");
        }
        xml.push_str("    </BlockMap>\n</bmap>\n");
        xml
    }

    /// Reads the text of a `.bmap` file and checks its own checksum.
    pub fn parse(text: &str) -> Result<Bmap, BmapError> {
        let bare = without_comments(text);
        let tag = bare.split_once("<bmap").and_then(|(_, rest)| rest.split_once('>'));
        let version = tag.and_then(|(tag, _)| attribute(tag, "version"));
        let version = version.ok_or(BmapError::Missing("`<bmap version=…>`"))?;
        if !version.starts_with("2.") {
            return Err(BmapError::Version(version.into()));
        }
        let kind = element(&bare, "ChecksumType").ok_or(BmapError::Missing("`ChecksumType`"))?;
        if kind != "sha256" {
            return Err(BmapError::ChecksumType(kind.into()));
        }
        check_own_checksum(text, &bare)?;
        let image_len = number(&bare, "ImageSize")?;
        let block_size = number(&bare, "BlockSize")?;
        if !block_size.is_power_of_two() {
            return Err(value("BlockSize", &block_size.to_string()));
        }
        let map = element(&bare, "BlockMap").ok_or(BmapError::Missing("`BlockMap`"))?;
        let ranges = parse_ranges(map, block_size, image_len)?;
        let bmap = Bmap { image_len, block_size, ranges };
        bmap.ensure_counts(&bare)?;
        Ok(bmap)
    }
}

impl Bmap {
    /// Fails if the map says that it has other blocks than it lists: it was cut off, or put together by hand.
    fn ensure_counts(&self, text: &str) -> Result<(), BmapError> {
        let blocks = |range: &Range<u64>| (range.end - range.start).div_ceil(self.block_size);
        let mapped = self.ranges.iter().map(|range| blocks(&range.bytes)).sum();
        let counted =
            [("MappedBlocksCount", mapped), ("BlocksCount", self.image_len.div_ceil(self.block_size))];
        for (what, counted) in counted.into_iter().filter(|(what, _)| element(text, what).is_some()) {
            let said = number(text, what)?;
            if said != counted {
                return Err(BmapError::Count { what, said, counted });
            }
        }
        Ok(())
    }
}

fn value(what: &'static str, text: &str) -> BmapError {
    BmapError::Value { what, value: text.into() }
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        bare.push_str(part.split_once("-->").map_or("", |(_, rest)| rest));
    }
    bare
}

/// The trimmed text of the first `<name>…</name>`.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

fn number(text: &str, name: &'static str) -> Result<u64, BmapError> {
    let found = element(text, name).ok_or(BmapError::Missing(name))?;
    found.parse().map_err(|_| value(name, found))
}

/// The value of an attribute in the text of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(rest.split_once('"')?.0)
}

fn check_own_checksum(text: &str, bare: &str) -> Result<(), BmapError> {
    let expected = element(bare, "BmapFileChecksum").ok_or(BmapError::Missing("`BmapFileChecksum`"))?;
    if parse_sha256(expected).is_none() {
        return Err(value("BmapFileChecksum", expected));
    }
    let found = to_hex(&Sha256::digest(text.replacen(expected, NO_CHECKSUM, 1).as_bytes()));
    match found == expected.to_ascii_lowercase() {
        true => Ok(()),
        false => Err(BmapError::Damaged { expected: expected.into(), found }),
    }
}

fn parse_ranges(map: &str, block_size: u64, image_len: u64) -> Result<Vec<MappedRange>, BmapError> {
    let mut ranges: Vec<MappedRange> = Vec::new();
    for part in map.split("<Range").skip(1) {
        let (tag, rest) = part.split_once('>').ok_or_else(|| value("Range", part))?;
        let place = rest.split_once("</Range>").ok_or_else(|| value("Range", rest))?.0.trim();
        let bytes = parse_blocks(place, block_size, image_len).ok_or_else(|| value("Range", place))?;
        if ranges.last().is_some_and(|last| last.bytes.end > bytes.start) {
            return Err(value("Range", place));
        }
        let sha256 = match attribute(tag, "chksum") {
            Some(sum) => Some(parse_sha256(sum).ok_or_else(|| value("chksum", sum))?),
            None => None,
        };
        ranges.push(MappedRange { bytes, sha256 });
    }
    Ok(ranges)
}

/// `7` or `7-9`, in blocks.
fn parse_blocks(place: &str, block_size: u64, image_len: u64) -> Option<Range<u64>> {
    let (first, last) = place.split_once('-').unwrap_or((place, place));
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let start = first.checked_mul(block_size)?;
    let end = last.checked_add(1)?.checked_mul(block_size)?;
    // Only the last block may reach behind the end.
    let inside = start < end && start < image_len && end < image_len.checked_add(block_size)?;
    inside.then(|| start..end.min(image_len))
}

#[cfg(test)]
mod tests {
    use super::super::tests::map;
    use super::*;

    /// Its own checksum.
    fn own(text: &str) -> &str {
        element(text, "BmapFileChecksum").expect("it has one")
    }

    #[test]
    fn what_is_written_is_read() {
        let text = map().to_xml();
        assert!(text.contains("<MappedBlocksCount> 2 </MappedBlocksCount>"), "{text}");
        assert_eq!(Bmap::parse(&text), Ok(map()));
    }

    #[test]
    fn what_is_not_a_map_is_refused() {
        let message = |text: &str| Bmap::parse(text).unwrap_err().to_string();
        let good = map().to_xml();
        assert_eq!(message("hello"), "this is not a block map: `<bmap version=…>` is missing");
        assert_eq!(
            message(&good.replace("\"2.0\"", "\"1.3\"")),
            "this block map has version 1.3; version 2 can be read"
        );
        assert_eq!(
            message(&good.replace("sha256", "sha1")),
            "this block map has checksums of type `sha1`; `sha256` can be checked"
        );
        let damaged = message(&good.replace("10000", "10001"));
        assert!(damaged.starts_with("this block map was damaged: its checksum is "), "{damaged}");
        let far = Bmap { ranges: vec![MappedRange { bytes: 81_920..90_000, sha256: None }], ..map() };
        assert_eq!(message(&far.to_xml()), "`20-21` is not a valid Range of a block map");
        let text = good.replace("<MappedBlocksCount> 2 ", "<MappedBlocksCount> 3 ");
        let sum = to_hex(&Sha256::digest(text.replacen(own(&text), NO_CHECKSUM, 1).as_bytes()));
        assert_eq!(
            message(&text.replacen(own(&text), &sum, 1)),
            "this block map says that its MappedBlocksCount is 3, but it is 2"
        );
        let back = Bmap { ranges: map().ranges.into_iter().rev().collect(), ..map() };
        assert_eq!(message(&back.to_xml()), "`0` is not a valid Range of a block map");
    }
}
