//! The text of a device table.

use std::path::Path;
use std::sync::Arc;

use super::DeviceTableError;
use crate::rootfs::TableLine;
use crate::tree::{Body, Device};

/// Largest device number makedevs accepts.
const MAX_NUMBER: u32 = 0xf_ffff;

/// A parsed table.
#[derive(Clone, Debug)]
pub struct DeviceTable {
    pub(super) file: Arc<Path>,
    pub(super) lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) entry: Entry,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A path with what it should become.
    Path { name: String, kind: Kind, mode: Option<u32>, user: String, group: String },
    /// Capabilities for the file of the line before.
    Xattr(String),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    File { optional: bool },
    Directory,
    Recursive,
    Nodes { kind: NodeKind, major: u32, minor: u32, start: u32, increment: u32, count: u32 },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum NodeKind {
    Char,
    Block,
    Fifo,
}

impl NodeKind {
    pub(super) fn body(self, device: Device) -> Body {
        match self {
            NodeKind::Char => Body::Char(device),
            NodeKind::Block => Body::Block(device),
            NodeKind::Fifo => Body::Fifo,
        }
    }
}

impl DeviceTable {
    /// Parses the text of the table at `file` (named in messages only).
    pub fn parse(file: &Path, text: &str) -> Result<DeviceTable, DeviceTableError> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let trimmed = line.trim();
            // makedevs passes over an indented line with a single word.
            let is_indented_word = line != line.trim_start() && trimmed.split_ascii_whitespace().count() < 2;
            if trimmed.starts_with('#')
                || (is_indented_word && !trimmed.starts_with('|'))
                || trimmed.is_empty()
            {
                continue;
            }
            let entry = parse_line(trimmed).map_err(|problem| DeviceTableError::Syntax {
                at: TableLine { file: file.into(), line: number },
                problem,
            })?;
            lines.push(Line { number, entry });
        }
        Ok(DeviceTable { file: file.into(), lines })
    }
}

fn parse_line(line: &str) -> Result<Entry, String> {
    if let Some(rest) = line.strip_prefix("|xattr") {
        // One word; behind it may stand anything.
        return match rest.split_ascii_whitespace().next() {
            None => Err("`|xattr` without capabilities".into()),
            Some(text) => Ok(Entry::Xattr(text.into())),
        };
    }
    let mut columns = Columns(line);
    let name = columns.word().unwrap_or_default();
    let kind = columns.letter();
    let (mode, user, group) = (columns.octal(), columns.word(), columns.word());
    let (Some(kind), Some(user), Some(group)) = (kind, user, group) else {
        let count = line.split_ascii_whitespace().count();
        return Err(format!("{count} columns, but name, type, mode, uid and gid are needed"));
    };
    let mode = match mode {
        Ok(u32::MAX) => None,
        // As chmod(2), which passes over the type of the file.
        Ok(mode) => Some(mode & 0o7777),
        Err(text) => return Err(format!("mode `{text}` is not an octal number")),
    };
    let kind = parse_kind(kind, columns)?;
    Ok(Entry::Path { name: name.into(), kind, mode, user: user.into(), group: group.into() })
}

/// The rest of a line, which is read as the `scanf("%s %c %o %s %s %u %u %u %u %u")` of makedevs reads it.
#[derive(Clone, Copy)]
struct Columns<'l>(&'l str);

impl<'l> Columns<'l> {
    /// `%s`.
    fn word(&mut self) -> Option<&'l str> {
        let text = self.0.trim_ascii_start();
        let len = text.find(|letter: char| letter.is_ascii_whitespace()).unwrap_or(text.len());
        let (word, rest) = text.split_at(len);
        self.0 = rest;
        Some(word).filter(|word| !word.is_empty())
    }

    /// `%c` behind a space: the mode may follow without one.
    fn letter(&mut self) -> Option<char> {
        let mut letters = self.0.trim_ascii_start().chars();
        let letter = letters.next();
        self.0 = letters.as_str();
        letter
    }

    /// `%o`; an error has the word that is no number.
    fn octal(&mut self) -> Result<u32, &'l str> {
        let before = *self;
        self.number(8).ok_or_else(|| {
            *self = before;
            self.word().unwrap_or_default()
        })
    }

    /// The digits at the start of the rest, with a sign, as strtoul(3) takes them.
    fn number(&mut self, radix: u32) -> Option<u32> {
        let text = self.0.trim_ascii_start();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let len = digits.find(|letter: char| !letter.is_digit(radix)).unwrap_or(digits.len());
        let number = u32::from_str_radix(&digits[..len], radix).ok()?;
        self.0 = &digits[len..];
        Some(if negative { number.wrapping_neg() } else { number })
    }
}

/// makedevs reads numbers up to the first column that is none, of which the usual is `-`; text may stand behind it.
fn parse_kind(kind: char, mut columns: Columns) -> Result<Kind, String> {
    let mut numbers = [0; 5];
    for number in &mut numbers {
        let text = columns.0.trim_ascii_start();
        let Some(found) = columns.number(10) else { break };
        if found > MAX_NUMBER {
            let word = text.split_ascii_whitespace().next().unwrap_or_default();
            return Err(format!("`{word}` is not a number up to {MAX_NUMBER}"));
        }
        *number = found;
    }
    let [major, minor, start, increment, count] = numbers;
    let last = u64::from(minor) + u64::from(count.saturating_sub(1)) * u64::from(increment);
    if last > u64::from(MAX_NUMBER) {
        return Err(format!("the last minor number is {last}, but at most {MAX_NUMBER} is possible"));
    }
    let nodes = |kind| Kind::Nodes { kind, major, minor, start, increment, count };
    match kind {
        'f' => Ok(Kind::File { optional: false }),
        'F' => Ok(Kind::File { optional: true }),
        'd' => Ok(Kind::Directory),
        'r' => Ok(Kind::Recursive),
        'c' => Ok(nodes(NodeKind::Char)),
        'b' => Ok(nodes(NodeKind::Block)),
        'p' => Ok(nodes(NodeKind::Fifo)),
        _ => Err(format!("unknown type `{kind}`: use f, F, d, r, c, b or p")),
    }
}
