//! Boot text: scripts, `extlinux.conf`, `config.txt`, `cmdline.txt` and loader entries, made from templates.
//!
//! `@{name}` stands for a value, `@@` for one `@`; any other `@` is itself. `${name}` is left alone, it is
//! U-Boot's own. A name that has no value is an error, so that no half-filled text ever reaches a board.

use crate::value::{did_you_mean, nearest};
use std::collections::BTreeMap;

use crate::error::Diagnostic;

/// Longest line of `config.txt`: the firmware ignores what follows
/// (Raspberry Pi documentation, "config.txt", "File format").
const PI_LINE: usize = 98;

/// Purpose of a text, which decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A script for U-Boot, GRUB or another shell.
    Script,
    /// `extlinux.conf`: has labels, and the default is one of them.
    Extlinux,
    /// `config.txt` of the Raspberry Pi firmware.
    PiConfig,
    /// The kernel's command line: one line.
    CommandLine {
        /// Bytes the kernel keeps, with the zero at the end: [`crate::value::Arch::command_line_size`].
        size: usize,
    },
    /// An entry of the Boot Loader Specification: has a `linux` or `efi` line.
    LoaderEntry,
}

/// Reason why a boot text cannot be made. `file` is the name of the template or text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "change the template, or the values it is made from")]
pub enum TextError {
    /// A placeholder that has no value.
    #[error("{file}:{line}:{column}: `@{{{name}}}` has no value")]
    #[diagnostic(hint = names_for(name, known))]
    Unknown {
        /// Name of the template.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 1.
        column: usize,
        /// Text between the braces.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A placeholder without an end.
    #[error("{file}:{line}:{column}: `@{{` is not closed in its line")]
    #[diagnostic(hint = "write `@{{name}}` for a value and `@@` for an `@` before a brace")]
    Open {
        /// Name of the template.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 1.
        column: usize,
    },
    /// The boot loader would not take the text, or not as it is meant.
    #[error("{file}:{line}: {reason}")]
    Line {
        /// Name of the text.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Fault of the line.
        reason: String,
    },
    /// Something is missing in the whole.
    #[error("{file}: {reason}")]
    Whole {
        /// Name of the text.
        file: String,
        /// Missing or too long part.
        reason: String,
    },
}

/// Names that could be meant by `name`.
fn names_for(name: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "there are no values here; write `@@` for an `@` before a brace".into();
    }
    let names = format!("known names: {}", known.join(", "));
    let near = nearest(name, known.iter().map(String::as_str)).map(|name| format!("@{{{name}}}"));
    match did_you_mean(near) {
        Some(question) => format!("{question} {names}"),
        None => names,
    }
}

/// Fills a template; `file` is its name for messages. Values that the template does not use are fine.
pub fn render(file: &str, template: &str, values: &BTreeMap<String, String>) -> Result<String, TextError> {
    let mut text = String::with_capacity(template.len());
    for (index, line) in template.split_inclusive('\n').enumerate() {
        render_line(file, index + 1, line, values, &mut text)?;
    }
    Ok(text)
}

fn render_line(
    file: &str,
    number: usize,
    line: &str,
    values: &BTreeMap<String, String>,
    text: &mut String,
) -> Result<(), TextError> {
    let mut rest = line;
    while let Some(at) = rest.find('@') {
        text.push_str(&rest[..at]);
        let column = line[..line.len() - rest.len() + at].chars().count() + 1;
        let after = &rest[at + 1..];
        rest = if let Some(after) = after.strip_prefix('@') {
            text.push('@');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(TextError::Open { file: file.into(), line: number, column });
            };
            text.push_str(value(file, number, column, name, values)?);
            after
        } else {
            text.push('@');
            after
        };
    }
    text.push_str(rest);
    Ok(())
}

fn value<'v>(
    file: &str,
    line: usize,
    column: usize,
    name: &str,
    values: &'v BTreeMap<String, String>,
) -> Result<&'v str, TextError> {
    values.get(name).map(String::as_str).ok_or_else(|| TextError::Unknown {
        file: file.into(),
        line,
        column,
        name: name.into(),
        known: values.keys().cloned().collect(),
    })
}

/// Fails if the program that reads `text` would not take it as it is meant; `file` is its name for messages.
pub fn check(file: &str, text: &str, format: Format) -> Result<(), TextError> {
    for (index, line) in text.split('\n').enumerate() {
        let reason = wrong_in_any(line).or(match format {
            Format::PiConfig => wrong_in_pi_config(line),
            _ => None,
        });
        if let Some(reason) = reason {
            return Err(TextError::Line { file: file.into(), line: index + 1, reason });
        }
    }
    let reason = match format {
        Format::Script | Format::PiConfig => None,
        Format::Extlinux => wrong_in_extlinux(text),
        Format::CommandLine { size } => wrong_in_command_line(text, size),
        Format::LoaderEntry => wrong_in_loader_entry(text),
    };
    reason.map_or(Ok(()), |reason| Err(TextError::Whole { file: file.into(), reason }))
}

fn wrong_in_any(line: &str) -> Option<String> {
    match line.chars().find(|c| *c == '\r' || *c == '\0')? {
        '\r' => Some("the line ends as on Windows, with a carriage return".into()),
        _ => Some("the line has a zero byte".into()),
    }
}

fn wrong_in_pi_config(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    if line.contains('\t') {
        return Some("the line has a tab, which the firmware takes as part of a name or value".into());
    }
    if let Some((name, value)) = line.split_once('=')
        && (name.ends_with(' ') || value.starts_with(' '))
    {
        return Some("the line has a space beside `=`, and the firmware ignores such a line".into());
    }
    let len = line.chars().count();
    (len > PI_LINE).then(|| {
        format!("the line has {len} characters, and the firmware ignores what follows the {PI_LINE}th")
    })
}

fn wrong_in_command_line(text: &str, size: usize) -> Option<String> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let lines = line.split('\n').count();
    if lines > 1 {
        return Some(format!("a kernel command line is one line, and here are {lines}"));
    }
    if line.trim().is_empty() {
        return Some("the kernel command line is empty".into());
    }
    let (len, most) = (line.len(), size - 1);
    (len > most).then(|| format!("the kernel command line has {len} bytes, and the kernel keeps {most}"))
}

/// Keyword and rest of each line that is neither empty nor a comment, the keyword in lower case.
fn keywords(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        (keyword.to_ascii_lowercase(), rest.trim())
    })
}

fn wrong_in_extlinux(text: &str) -> Option<String> {
    let labels: Vec<&str> =
        keywords(text).filter(|(keyword, _)| keyword == "label").map(|(_, label)| label).collect();
    if labels.is_empty() {
        return Some("there is no `label` to boot".into());
    }
    let (_, default) = keywords(text).find(|(keyword, _)| keyword == "default")?;
    (!labels.contains(&default))
        .then(|| format!("the default is `{default}`, and the labels are `{}`", labels.join("`, `")))
}

fn wrong_in_loader_entry(text: &str) -> Option<String> {
    let boots =
        keywords(text).any(|(keyword, rest)| ["linux", "efi"].contains(&&*keyword) && !rest.is_empty());
    (!boots).then(|| "there is no `linux` or `efi` line to boot".into())
}
