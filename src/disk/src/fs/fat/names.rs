//! Names of a directory as FAT stores them: a unique 8.3 name for each, and a long name where that differs.

use std::collections::{HashMap, HashSet};

use super::FatError;
use crate::tree;

/// Most UTF-16 units of a long name.
const MAX_UNITS: usize = 255;
/// Largest numeric tail: with `~` seven characters, which leaves one of the name.
const MAX_TAIL: u32 = 999_999;

/// Name as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredName {
    /// Eight characters and three of the extension, padded with spaces.
    pub short: [u8; 11],
    /// UTF-16 units of the name, empty if the short one says all.
    pub long: Vec<u16>,
}

/// The stored names of the entries of directory `dir`, in the same order.
pub(super) fn store(dir: &[u8], names: &[&[u8]]) -> Result<Vec<StoredName>, FatError> {
    let texts = names.iter().map(|name| check(dir, name)).collect::<Result<Vec<_>, _>>()?;
    reject_collisions(dir, &texts)?;
    let bases: Vec<Base> = texts.iter().map(|text| Base::from_name(text)).collect();
    // Names that need no numeric tail come first, so that no tail can take what another file is called.
    let mut taken: HashSet<[u8; 11]> = bases.iter().filter(|base| !base.lossy).map(Base::plain).collect();
    let mut tails = HashMap::new();
    let mut stored = Vec::with_capacity(texts.len());
    for (text, base) in texts.iter().zip(&bases) {
        let short = if base.lossy { base.unique(&mut taken, &mut tails, dir, text)? } else { base.plain() };
        let long = if base.exact { Vec::new() } else { text.encode_utf16().collect() };
        stored.push(StoredName { short, long });
    }
    Ok(stored)
}

/// The name as text if FAT can store it.
fn check<'n>(dir: &[u8], name: &'n [u8]) -> Result<&'n str, FatError> {
    let fail = |reason: String| FatError::Name { path: tree::display(&tree::join(dir, name)), reason };
    let text = std::str::from_utf8(name).map_err(|_| fail("its name is not UTF-8".into()))?;
    if let Some(bad) = text.chars().find(|c| c.is_ascii_control() || "\"*/:<>?\\|".contains(*c)) {
        return Err(fail(format!("its name has the character `{}`", bad.escape_default())));
    }
    if text.ends_with(['.', ' ']) {
        return Err(fail("its name ends with a dot or a space".into()));
    }
    let units = text.encode_utf16().count();
    if units > MAX_UNITS {
        return Err(fail(format!("its name has {units} UTF-16 units, and {MAX_UNITS} are possible")));
    }
    Ok(text)
}

/// Fails for the first two names that differ in case only.
fn reject_collisions(dir: &[u8], texts: &[&str]) -> Result<(), FatError> {
    let mut seen = HashMap::with_capacity(texts.len());
    for text in texts {
        if let Some(first) = seen.insert(fold(text), text) {
            let path = |name: &str| tree::display(&tree::join(dir, name.as_bytes()));
            return Err(FatError::Collision { first: path(first), second: path(text) });
        }
    }
    Ok(())
}

/// Upper case character by character, as the case tables of Windows and Linux do it.
fn fold(text: &str) -> String {
    let upper = |c: char| {
        let mut mapped = c.to_uppercase();
        if mapped.len() == 1 { mapped.next().unwrap_or(c) } else { c }
    };
    text.chars().map(upper).collect()
}

/// Basis name of the specification: up to eight and up to three characters of a short name.
struct Base {
    stem: Vec<u8>,
    extension: Vec<u8>,
    /// The short name is not the name in upper case, so it needs a numeric tail.
    lossy: bool,
    /// The short name is the name.
    exact: bool,
}

impl Base {
    fn from_name(text: &str) -> Base {
        let trimmed = text.trim_start_matches(['.', ' ']);
        let (stem, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
        let mut lossy = trimmed.len() != text.len();
        let mut convert = |part: &str, limit: usize| {
            let mut bytes = Vec::with_capacity(limit);
            for c in part.chars() {
                match short_char(c) {
                    Some(byte) => bytes.push(byte),
                    None => {
                        lossy = true;
                        // Spaces and dots vanish, all else is replaced.
                        if !matches!(c, ' ' | '.') {
                            bytes.push(b'_');
                        }
                    }
                }
            }
            lossy |= bytes.len() > limit;
            bytes.truncate(limit);
            bytes
        };
        let (stem, extension) = (convert(stem, 8), convert(extension, 3));
        lossy |= stem.is_empty();
        let exact = !lossy && !text.bytes().any(|byte| byte.is_ascii_lowercase());
        Base { stem, extension, lossy, exact }
    }

    /// The short name without a tail.
    fn plain(&self) -> [u8; 11] {
        self.with_tail("")
    }

    /// The short name with the lowest numeric tail that is free.
    fn unique(
        &self,
        taken: &mut HashSet<[u8; 11]>,
        tails: &mut HashMap<[u8; 11], u32>,
        dir: &[u8],
        text: &str,
    ) -> Result<[u8; 11], FatError> {
        // Remembering the last tail keeps thousands of alike names from trying all the lower ones again.
        let next = tails.entry(self.plain()).or_insert(1);
        while *next <= MAX_TAIL {
            let short = self.with_tail(&format!("~{next}"));
            *next += 1;
            if taken.insert(short) {
                return Ok(short);
            }
        }
        let path = tree::display(&tree::join(dir, text.as_bytes()));
        Err(FatError::Name { path, reason: "there are too many names like it".into() })
    }

    fn with_tail(&self, tail: &str) -> [u8; 11] {
        let mut short = [b' '; 11];
        let kept = self.stem.len().min(8 - tail.len());
        short[..kept].copy_from_slice(&self.stem[..kept]);
        short[kept..kept + tail.len()].copy_from_slice(tail.as_bytes());
        short[8..8 + self.extension.len()].copy_from_slice(&self.extension);
        short
    }
}

/// The byte of a character in a short name.
fn short_char(c: char) -> Option<u8> {
    match c {
        'A'..='Z' | '0'..='9' => Some(c as u8),
        'a'..='z' => Some(c.to_ascii_uppercase() as u8),
        '!' | '#' | '$' | '%' | '&' | '\'' | '(' | ')' | '-' | '@' => Some(c as u8),
        '^' | '_' | '`' | '{' | '}' | '~' => Some(c as u8),
        _ => None,
    }
}

/// A label padded with spaces, as it stands in the boot sector and the root directory.
pub(super) fn label(label: &str) -> Result<[u8; 11], FatError> {
    let fail = |reason| Err(FatError::Label { label: label.into(), reason });
    if label.len() > 11 {
        return fail("it has more than 11 bytes");
    }
    if label.starts_with(' ') || label.ends_with(' ') {
        return fail("it begins or ends with a space");
    }
    let fits = |c: char| c.is_ascii() && !c.is_ascii_control() && !"\"*+,./:;<=>?[\\]|".contains(c);
    if !label.chars().all(fits) {
        return fail("it has a character other than letters, digits, spaces and a few signs");
    }
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(names: &[&str]) -> Vec<(String, bool)> {
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        let stored = store(b"d", &names).expect("storable");
        let text = |name: &StoredName| String::from_utf8(name.short.to_vec()).expect("ASCII");
        stored.iter().map(|name| (text(name), !name.long.is_empty())).collect()
    }

    fn message(names: &[&[u8]]) -> String {
        store(b"d", names).unwrap_err().to_string()
    }

    #[test]
    fn only_strict_upper_case_goes_without_a_long_name() {
        for (name, short, long) in [
            ("README.TXT", "README  TXT", false),
            ("A", "A          ", false),
            ("kernel8.img", "KERNEL8 IMG", true),
            ("config.txt", "CONFIG  TXT", true),
            ("bcm2711-rpi-4-b.dtb", "BCM271~1DTB", true),
            (".hidden", "HIDDEN~1   ", true),
            ("a b.txt", "AB~1    TXT", true),
            ("a.b.c", "AB~1    C  ", true),
            ("x+y", "X_Y~1      ", true),
            ("größe", "GR__E~1    ", true),
            ("rootfs.cpio.lz4", "ROOTFS~1LZ4", true),
            ("config.text", "CONFIG~1TEX", true),
            ("...x", "X~1        ", true),
            ("+", "_~1        ", true),
        ] {
            assert_eq!(stored(&[name]), [(short.to_string(), long)], "{name}");
        }
    }

    #[test]
    fn tails_are_unique_and_never_take_a_real_name() {
        let shorts = stored(&["LONGNA~1.TXT", "longname one.txt", "longname two.txt", "longna~3.txt"]);
        let shorts: Vec<_> = shorts.iter().map(|(short, _)| short.as_str()).collect();
        assert_eq!(shorts, ["LONGNA~1TXT", "LONGNA~2TXT", "LONGNA~4TXT", "LONGNA~3TXT"]);
        let many: Vec<String> = (0..1200).map(|i| format!("same beginning {i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let shorts: HashSet<_> = stored(&many).into_iter().collect();
        assert_eq!(shorts.len(), 1200);
        assert!(
            shorts.contains(&("SAME~999   ".into(), true)) || shorts.contains(&("SAM~1000   ".into(), true))
        );
    }

    #[test]
    fn what_fat_cannot_name_is_told() {
        assert_eq!(
            message(&[b"xt_DSCP.ko", b"xt_dscp.ko"]),
            "`/d/xt_DSCP.ko` and `/d/xt_dscp.ko` are the same name on FAT, which ignores case"
        );
        assert_eq!(message(&[b"a:b"]), "`/d/a:b` cannot be stored on FAT: its name has the character `:`");
        assert_eq!(message(&[b"a\n"]), "`/d/a\n` cannot be stored on FAT: its name has the character `\\n`");
        assert_eq!(message(&[b"a."]), "`/d/a.` cannot be stored on FAT: its name ends with a dot or a space");
        assert_eq!(message(&[b"\xff"]), "`/d/\\xff` cannot be stored on FAT: its name is not UTF-8");
        let long = "é".repeat(256);
        let expected = "cannot be stored on FAT: its name has 256 UTF-16 units, and 255 are possible";
        assert!(message(&[long.as_bytes()]).ends_with(expected));
        store(b"d", &["é".repeat(255).as_bytes()]).expect("255 units fit");
    }

    #[test]
    fn names_that_differ_in_case_beyond_ascii_collide_too() {
        assert!(store(b"", &["Größe".as_bytes(), "GRÖßE".as_bytes()]).is_err());
        assert!(store(b"", &["straße".as_bytes(), "strasse".as_bytes()]).is_ok());
    }

    #[test]
    fn labels_keep_their_case() {
        assert_eq!(&label("boot").expect("valid"), b"boot       ");
        let message = |text| label(text).unwrap_err().to_string();
        assert_eq!(
            message("twelve bytes"),
            "`twelve bytes` cannot be a FAT label: it has more than 11 bytes"
        );
        assert_eq!(message(" x"), "` x` cannot be a FAT label: it begins or ends with a space");
        assert_eq!(
            message("a/b"),
            "`a/b` cannot be a FAT label: it has a character other than letters, digits, spaces and a few signs"
        );
    }
}
