//! The SkiffOS that is on a medium, as its release file says.

use std::io::{self, Write};

use super::Content;
use crate::fs::{ext4, fat};
use crate::storage::{Cursor, ReadOnly};

/// Name of the file that says which SkiffOS it is.
pub const RELEASE_FILE: &str = "skiff-release";
/// Paths at which installers put it: beside the kernel, on a boot partition or below `boot` of the only one.
const PLACES: [&str; 3] = [RELEASE_FILE, "boot/skiff-release", "etc/skiff-release"];
/// The most that is read to find it: directories, and of a FAT all of the table.
const MOST: u64 = 8 << 20;
/// Release files are shorter.
const LONGEST: usize = 4096;

/// The release on a partition, for example `SkiffOS 2024.05.1 (pi/4)`.
pub fn find(medium: &ReadOnly, content: &Content, start: u64, len: u64) -> Option<String> {
    let section = Cursor::new(medium.clone(), start, len).at_most(MOST);
    let text = match content {
        Content::Fat(_) => read_in_fat(section),
        Content::Ext4(_) => read_in_ext4(section),
        Content::Squashfs(_) | Content::Tar(_) | Content::Other { .. } | Content::Unknown => None,
    };
    text.and_then(|text| name(&text))
}

fn read_in_fat(section: Cursor<ReadOnly>) -> Option<Vec<u8>> {
    let volume = fat::Volume::from_reader("partition", section).ok()?;
    PLACES.iter().find_map(|path| {
        let mut text = Short::default();
        volume.extract(path, &mut text).ok().map(|_| text.0)
    })
}

fn read_in_ext4(section: Cursor<ReadOnly>) -> Option<Vec<u8>> {
    let reader = ext4::Reader::open(section, 0).ok()?;
    PLACES.iter().find_map(|path| {
        let mut text = Short::default();
        reader.copy_file(path.as_bytes(), &mut text).ok().map(|_| text.0)
    })
}

/// Value of `key` in a file of `KEY=value` lines (os-release(5)), without quotes: that of the last line, if there are
/// several. An empty one is none.
pub fn assigned<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next_back()?.trim().trim_matches('"');
    (!value.is_empty()).then_some(value)
}

/// Name, version and board of a release file.
fn name(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let value = |key: &str| {
        let value = super::printable(assigned(&text, key)?);
        (!value.is_empty()).then_some(value)
    };
    let version = value("VERSION").or_else(|| value("VERSION_ID"));
    let name = match (value("NAME"), version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        (name, version) => value("PRETTY_NAME").or(name).or(version)?,
    };
    match value("BUILD_CONFIG") {
        Some(config) => Some(format!("{name} ({config})")),
        None => Some(name),
    }
}

/// The start of a file; what is longer is none.
#[derive(Default)]
struct Short(Vec<u8>);

impl Write for Short {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.0.len() + buf.len() > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_without_its_quotes() {
        let text = "VERSION=1\nVERSION_ID=abc\nNAME=\"A B\"\nVERSION=\"2\" \nEMPTY=\"\"\n";
        assert_eq!(assigned(text, "VERSION"), Some("2"));
        assert_eq!(assigned(text, "NAME"), Some("A B"));
        assert_eq!((assigned(text, "EMPTY"), assigned(text, "ID")), (None, None));
    }
}
