//! `refind_linux.conf`, which rEFInd reads beside a kernel: lines of a title and kernel options, both in double
//! quotes. In options `%v` stands for the version of the kernel, which rEFInd takes from its file name: all from
//! the first digit to the last.
//!
//! Source: rEFInd 0.13 and 0.14, documentation "Methods of Booting Linux", `refind/linux.c` (`FindNumbers`,
//! `ReadLinuxOptionsFile`) and its default `linux_prefixes`.

use super::text::TextError;

/// How names of kernels begin that rEFInd finds by itself.
const KERNELS: [&str; 3] = ["vmlinuz", "bzImage", "kernel"];

/// What rEFInd puts for `%v` with a kernel of this file name.
pub fn version(kernel: &str) -> &str {
    let digit = |c: char| c.is_ascii_digit();
    match (kernel.find(digit), kernel.rfind(digit)) {
        (Some(first), Some(last)) => &kernel[first..=last],
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
        missing(options, &kernels, placed).map_or(Ok(()), |reason| Err(wrong(reason)))?;
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

/// Says which file that the options name with `%v` is not there.
fn missing(options: &str, kernels: &[(&str, &str)], placed: &[&str]) -> Option<String> {
    let paths = options.split_whitespace().filter_map(|word| word.split_once('=')).map(|(_, path)| path);
    for path in paths.filter(|path| path.starts_with('/') && path.contains("%v")) {
        for (kernel, name) in kernels {
            let (version, path) = (version(name), path.replace("%v", version(name)));
            if !placed.contains(&&*path) {
                return Some(format!("`%v` is `{version}` for `{kernel}`, and there is no `{path}`"));
            }
        }
    }
    None
}
