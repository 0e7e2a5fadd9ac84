//! Attributes of members: extended attributes, access lists, and what else records can say about a file.
//!
//! Keywords: `SCHILY.xattr.NAME` of GNU tar, star, libarchive and container programs, `LIBARCHIVE.xattr.NAME` of
//! libarchive alone, `RHT.security.selinux` of GNU tar with `--selinux`, and `SCHILY.acl.access` and `.default` of GNU
//! tar with `--acls`, star and libarchive.

use super::pax::Records;
use crate::tree::{Xattrs, acl};

/// Keywords that take nothing away if they are not read: names beside numbers, times that every image sets anew, what
/// the archiver notes for itself, and what was read already. One that ends with a dot stands for all that begin with it.
const WITHOUT_LOSS: [&[u8]; 29] = [
    b"GNU.sparse.",
    b"GNU.volume.",
    b"LIBARCHIVE.creationtime",
    b"LIBARCHIVE.symlinktype",
    b"SCHILY.acl.type",
    b"SCHILY.archtype",
    b"SCHILY.dev",
    b"SCHILY.devmajor",
    b"SCHILY.devminor",
    b"SCHILY.filetype",
    b"SCHILY.ino",
    b"SCHILY.nlink",
    b"SCHILY.offset",
    b"SCHILY.realsize",
    b"SCHILY.release",
    b"SCHILY.volhdr.",
    b"atime",
    b"charset",
    b"comment",
    b"ctime",
    b"gid",
    b"gname",
    b"hdrcharset",
    b"linkpath",
    b"mtime",
    b"path",
    b"size",
    b"uid",
    b"uname",
];

/// Attributes of a member, from its extended records.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pub xattrs: Xattrs,
    /// Access lists as text, by the name of their extended attribute.
    pub lists: Vec<(&'static [u8], String)>,
    /// Things that no tree has a place for.
    pub lost: Vec<String>,
}

impl Attributes {
    /// Reads all records; an error says what is wrong with one.
    pub(super) fn from_records(records: &Records) -> Result<Attributes, String> {
        let mut found = Attributes::default();
        for (key, value) in records.iter() {
            found.add(key, value)?;
        }
        // The value of an extended attribute has ids where a text may have names.
        found.lists.retain(|(name, _)| !found.xattrs.contains_key(*name));
        Ok(found)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let text = || String::from_utf8_lossy(value).into_owned();
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.insert(decode_equals(name).into(), value.into());
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = percent_decoded(name);
            let value = base64(value).ok_or_else(|| {
                format!("the value of the extended attribute `{}` is not base64", name.escape_ascii())
            })?;
            self.xattrs.entry(name.into()).or_insert(value.into());
        } else {
            match key {
                b"RHT.security.selinux" => {
                    // The kernel stores the label with the byte that ends it.
                    let label = [value.trim_ascii_end(), b"\0"].concat();
                    self.xattrs.insert(b"security.selinux".as_slice().into(), label.into());
                }
                b"SCHILY.acl.access" => self.list(acl::ACCESS, text()),
                b"SCHILY.acl.default" => self.list(acl::DEFAULT, text()),
                b"SCHILY.acl.ace" => self.lost.push("the NFSv4 access list".into()),
                b"SCHILY.fflags" => self.lost.push(format!("the file flags `{}`", text())),
                _ if is_without_loss(key) => {}
                _ => self.lost.push(format!("the PAX record `{}`", key.escape_ascii())),
            }
        }
        Ok(())
    }

    fn list(&mut self, name: &'static [u8], text: String) {
        self.lists.retain(|(other, _)| *other != name);
        if !text.trim().is_empty() {
            self.lists.push((name, text));
        }
    }
}

fn is_without_loss(key: &[u8]) -> bool {
    let fits = |known: &&[u8]| key == *known || (known.ends_with(b".") && key.starts_with(known));
    WITHOUT_LOSS.iter().any(fits)
}

/// GNU tar writes `%` and `=` in names as `%25` and `%3D`, and nothing else so.
fn decode_equals(name: &[u8]) -> Vec<u8> {
    decoded(name, |code| matches!(code, b'%' | b'='))
}

fn percent_decoded(name: &[u8]) -> Vec<u8> {
    decoded(name, |_| true)
}

/// A name whose codes `%XX` for bytes that `is_coded` are replaced.
fn decoded(mut name: &[u8], is_coded: fn(u8) -> bool) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Vec::with_capacity(name.len());
    while let [first, rest @ ..] = name {
        let code = match name {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        match code.filter(|code| is_coded(*code)) {
            Some(code) => {
                bytes.push(code);
                name = &name[3..];
            }
            None => {
                bytes.push(*first);
                name = rest;
            }
        }
    }
    bytes
}

/// RFC 4648 base64, whose padding libarchive leaves out.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = text.iter().rposition(|letter| *letter != b'=').map_or(0, |last| last + 1);
    let mut bytes = Vec::with_capacity(digits * 3 / 4);
    for group in text[..digits].chunks(4) {
        let mut bits = 0_u32;
        for letter in group {
            bits = bits << 6 | u32::from(value(*letter)?);
        }
        let whole = match group.len() {
            1 => return None,
            len => len - 1,
        };
        bytes.extend_from_slice(&(bits << (6 * (4 - group.len()) + 8)).to_be_bytes()[..whole]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(records: &[(&str, &[u8])]) -> Attributes {
        let record = |(key, value): &(&str, &[u8])| {
            let rest = key.len() + value.len() + 3;
            let len = (1..).map(|digits| rest + digits).find(|len| rest + len.to_string().len() == *len);
            [len.expect("a length").to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
        };
        let bytes: Vec<u8> = records.iter().flat_map(record).collect();
        Attributes::from_records(&Records::parse(&bytes).expect("well-formed")).expect("valid")
    }

    #[test]
    fn attributes_of_all_writers_are_read() {
        let found = attributes(&[
            ("SCHILY.xattr.user.a%3Db%41", b"1\n2"),
            ("LIBARCHIVE.xattr.user.%41b", b"AP/+fw"),
            ("RHT.security.selinux", b"system_u:object_r:bin_t:s0"),
        ]);
        let value = |name: &str| found.xattrs.get(name.as_bytes()).map(|value| value.to_vec());
        assert_eq!(value("user.a=b%41").as_deref(), Some(&b"1\n2"[..]));
        assert_eq!(value("user.Ab").as_deref(), Some(&[0, 0xff, 0xfe, 0x7f][..]));
        assert_eq!(value("security.selinux").as_deref(), Some(&b"system_u:object_r:bin_t:s0\0"[..]));
    }

    #[test]
    fn what_nobody_has_a_place_for_is_named() {
        let found = attributes(&[
            ("mtime", b"1.5"),
            ("SCHILY.acl.access", b"u::rwx,g::r-x,o::---"),
            ("SCHILY.acl.default", b""),
            ("SCHILY.acl.ace", b"owner@:rwx::allow"),
            ("SCHILY.fflags", b"nodump"),
            ("VENDOR.thing", b"1"),
        ]);
        assert_eq!(found.lists, [(acl::ACCESS, "u::rwx,g::r-x,o::---".to_owned())]);
        let lost = ["the NFSv4 access list", "the file flags `nodump`", "the PAX record `VENDOR.thing`"];
        assert_eq!(found.lost, lost);
    }

    #[test]
    fn base64_of_any_length_is_decoded() {
        assert_eq!(base64(b"").as_deref(), Some(&b""[..]));
        assert_eq!(base64(b"Zg==").as_deref(), Some(&b"f"[..]));
        assert_eq!(base64(b"Zm8").as_deref(), Some(&b"fo"[..]));
        assert_eq!(base64(b"Zm9v").as_deref(), Some(&b"foo"[..]));
        assert_eq!((base64(b"Z"), base64(b"Z*==")), (None, None));
    }
}
