//! `refind_linux.conf`, which rEFInd reads beside a kernel: lines of a title and kernel options, both in double
//! quotes. In options `%v` stands for a version: that of the file `init*` beside the kernel whose name has the same
//! version as the kernel's, and nothing where there is none. A version is all of a name from its first digit to its
//! last. The squashfs of the system is such a file, and has to be.
//!
//! Source: rEFInd 0.13 and 0.14, documentation "Methods of Booting Linux", and `FindNumbers`, `FindInitrd` and
//! `AddInitrdToOptions` of its source; tried with 0.13.2: beside a kernel of another version `%v` is empty.

use super::text::TextError;

/// First letters of the names of kernels that rEFInd finds by itself.
const KERNELS: [&str; 3] = ["vmlinuz", "bzImage", "kernel"];

/// Returns the part of a file name that rEFInd takes as the version.
pub fn version(name: &str) -> &str {
    let digit = |c: char| c.is_ascii_digit();
    match (name.find(digit), name.rfind(digit)) {
        (Some(first), Some(last)) => &name[first..=last],
        _ => "",
    }
}

/// Fails if a line is not what rEFInd reads, or if it names with `%v` a file that is not there: `placed` are the
/// paths on the filesystem, `directory` is where the text goes. `file` is its name for messages.
pub fn check(file: &str, text: &str, directory: &str, placed: &[&str]) -> Result<(), TextError> {
    let kernels = kernels(directory, placed);
    if kernels.is_empty() {
        let reason = format!("there is no kernel beside it, `bzImage*` or `vmlinuz*` in `{directory}`");
        return Err(TextError::Whole { file: file.into(), reason });
    }
    let mut entries = 0;
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason: String| TextError::Line { file: file.into(), line: index + 1, reason };
        let options = options(line).map_err(|reason| wrong(reason.into()))?;
        let found = kernels.iter().find_map(|kernel| missing(options, kernel, placed));
        found.map_or(Ok(()), |reason| Err(wrong(reason)))?;
        entries += 1;
    }
    if entries == 0 {
        let reason = "there is no line with a title and options".into();
        return Err(TextError::Whole { file: file.into(), reason });
    }
    Ok(())
}

fn kernels<'p>(directory: &str, placed: &[&'p str]) -> Vec<(&'p str, &'p str)> {
    let beside = |path: &&'p str| {
        let (parent, name) = path.rsplit_once('/')?;
        let kernel = KERNELS.iter().any(|prefix| name.starts_with(prefix));
        (parent == directory.trim_end_matches('/') && kernel).then_some((*path, name))
    };
    placed.iter().filter_map(beside).collect()
}

/// The options of a line.
fn options(line: &str) -> Result<&str, &'static str> {
    let mut parts = line.trim().split('"');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(""), Some(_), Some(gap), Some(options), Some(""), None)
            if !gap.is_empty() && gap.trim().is_empty() =>
        {
            Ok(options)
        }
        _ => Err("a line is a title and kernel options, both in double quotes"),
    }
}

/// Says which file that the options name with `%v` is not there for a kernel, given by path and name.
fn missing(options: &str, (kernel, name): &(&str, &str), placed: &[&str]) -> Option<String> {
    let paths = options.split_whitespace().filter_map(|word| word.split_once('=')).map(|(_, path)| path);
    let mut paths = paths.filter(|path| path.starts_with('/') && path.contains("%v")).peekable();
    paths.peek()?;
    let (version, directory) = (version(name), kernel.strip_suffix(name)?);
    if !placed.iter().any(|other| is_init(other, directory, version)) {
        return Some(format!(
            "`%v` is empty for `{kernel}`: no `init*` beside it has the version `{version}`"
        ));
    }
    let path = paths.map(|path| path.replace("%v", version)).find(|path| !placed.contains(&path.as_str()))?;
    Some(format!("`%v` is `{version}` for `{kernel}`, and there is no `{path}`"))
}

/// Returns whether a path is that of a file `init*` of this version in a directory.
fn is_init(path: &str, directory: &str, wanted: &str) -> bool {
    let name = path.strip_prefix(directory).filter(|name| name.starts_with("init"));
    name.is_some_and(|name| !name.contains('/') && version(name) == wanted)
}
