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
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = parse_line(line).map_err(|problem| DeviceTableError::Syntax {
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
        return match rest.trim() {
            "" => Err("`|xattr` without capabilities".into()),
            text => Ok(Entry::Xattr(text.into())),
        };
    }
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, kind, mode, user, group, numbers @ ..] = columns.as_slice() else {
        return Err(format!("{} columns, but name, type, mode, uid and gid are needed", columns.len()));
    };
    let mode = match *mode {
        "-1" => None,
        text => match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Some(mode),
            _ => return Err(format!("mode `{text}` is not an octal number up to 7777")),
        },
    };
    let kind = parse_kind(kind, numbers)?;
    let (name, user, group) = (name.to_string(), user.to_string(), group.to_string());
    Ok(Entry::Path { name, kind, mode, user, group })
}

fn parse_kind(kind: &str, columns: &[&str]) -> Result<Kind, String> {
    if columns.len() > 5 {
        return Err(format!("{} columns, but there are at most 10", columns.len() + 5));
    }
    let mut numbers = [0; 5];
    for (number, column) in numbers.iter_mut().zip(columns) {
        *number = match *column {
            "-" => 0,
            text => text
                .parse()
                .ok()
                .filter(|number| *number <= MAX_NUMBER)
                .ok_or_else(|| format!("`{text}` is not `-` or a number up to {MAX_NUMBER}"))?,
        };
    }
    let [major, minor, start, increment, count] = numbers;
    let last = u64::from(minor) + u64::from(count.saturating_sub(1)) * u64::from(increment);
    if last > u64::from(MAX_NUMBER) {
        return Err(format!("the last minor number is {last}, but at most {MAX_NUMBER} is possible"));
    }
    let nodes = |kind| Kind::Nodes { kind, major, minor, start, increment, count };
    match kind {
        "f" => Ok(Kind::File { optional: false }),
        "F" => Ok(Kind::File { optional: true }),
        "d" => Ok(Kind::Directory),
        "r" => Ok(Kind::Recursive),
        "c" => Ok(nodes(NodeKind::Char)),
        "b" => Ok(nodes(NodeKind::Block)),
        "p" => Ok(nodes(NodeKind::Fifo)),
        _ => Err(format!("unknown type `{kind}`: use f, F, d, r, c, b or p")),
    }
}
