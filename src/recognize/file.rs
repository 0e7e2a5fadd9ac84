//! Files that are taken for a disk image by mistake.

use skiff_signatures::{Class, Format};

use crate::storage::{Target, TargetError};

/// Bytes that are looked at to know a text.
const TEXT: usize = 4096;
/// A footer that makes a raw disk another format (Microsoft, "Virtual Hard Disk Image Format Specification", 2006; the
/// trailer of Apple's UDIF).
const FOOTERS: [(&[u8], &str); 2] =
    [(b"conectix", "virtual disk of Virtual PC (VHD)"), (b"koly", "Apple disk image (DMG)")];
/// Bytes of such a footer.
const FOOTER: u64 = 512;

/// Name of the format of a file that is no raw image of a disk or partition, by its first bytes.
pub fn by_head(head: &[u8]) -> Option<&'static str> {
    let classes = [Class::Archive, Class::DiskImage, Class::File];
    Format::find(head, &classes).map(Format::name).or_else(|| text(head))
}

/// The same by the last bytes of all of it.
pub fn by_footer(file: &dyn Target) -> Result<Option<&'static str>, TargetError> {
    let Some(at) = file.geometry().len.checked_sub(FOOTER) else { return Ok(None) };
    let mut footer = [0; FOOTER as usize];
    file.read_at(&mut footer, at)?;
    Ok(FOOTERS.iter().find(|(magic, _)| footer.starts_with(magic)).map(|(_, name)| *name))
}

/// Kind of a text; no disk begins with one.
fn text(head: &[u8]) -> Option<&'static str> {
    let head = &head[..head.len().min(TEXT)];
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let start: Vec<u8> = head.trim_ascii_start().iter().take(512).map(u8::to_ascii_lowercase).collect();
    let has = |word: &[u8]| start.windows(word.len()).any(|window| window == word);
    match start.as_slice() {
        // Whatever is behind it.
        [b'<', b'?', b'x', b'm', b'l', ..] if has(b"<bmap") => return Some("block map"),
        [b'<', b'?', b'x', b'm', b'l', ..] if !has(b"<html") => return Some("XML document"),
        _ if start.starts_with(b"<!doctype html") || start.starts_with(b"<html") => return Some("web page"),
        _ if !is_text(head) => return None,
        _ => {}
    }
    Some(match start.first() {
        _ if has(b"<html") => "web page",
        Some(b'{' | b'[') => "JSON document",
        _ => "text",
    })
}

/// Returns whether there is nothing but characters; the last one may be cut.
fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_layout = |character: char| matches!(character, '\t' | '\n' | '\r' | '\x0c' | '\x1b');
    !valid.is_empty() && valid.chars().all(|character| !character.is_control() || is_layout(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart() {
        for (bytes, name) in [
            (&b"<?xml version=\"1.0\" ?>\n<!-- hello -->\n<bmap version=\"2.0\">\n"[..], Some("block map")),
            (b"<?xml version=\"1.0\"?>\n<svg/>", Some("XML document")),
            (b"\xef\xbb\xbf\r\n<!DOCTYPE HTML>\n<title>404</title>", Some("web page")),
            (b"<HTML>\xaa\xaa\xaa", Some("web page")),
            (b"  {\"answer\": 42}", Some("JSON document")),
            (b"[1]", Some("JSON document")),
            (b"404: Not Found", Some("text")),
            ("grüße".as_bytes(), Some("text")),
            (&"grüße".as_bytes()[..3], Some("text")),
            (b"{\"answer\": 42}\0\0", None),
            (b"\xeb\x3c\x90MSDOS5.0", None),
            (b"", None),
            (&[0; 512], None),
        ] {
            assert_eq!(text(bytes), name, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
