//! Files that are published beside an image: its block map and its checksum, in files of the same name.

use std::path::{Path, PathBuf};

use super::claims::{Expected, Sha256Sum};
use crate::error::{Diagnostic, Io};

/// Endings of the names of packed files.
const PACKED: [&str; 10] = [".gz", ".xz", ".zst", ".zstd", ".bz2", ".lz4", ".zip", ".gzip", ".xzip", ".lzma"];

/// Reason why the checksum beside an image cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum SumFileError {
    /// It is about other files.
    #[error("`{}` has no SHA-256 of `{image}`", path.display())]
    #[diagnostic(hint = "move that file away, or give the right sum", code = "sum-of-other-file")]
    OtherFile {
        /// The file with checksums.
        path: PathBuf,
        /// Name of the image.
        image: String,
    },
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

/// `FILE` with `suffix` behind it, or, of a packed file, the name of what is in it with `suffix`: the first that is
/// there.
pub fn companion(image: &Path, suffix: &str) -> Option<PathBuf> {
    let with = |name: &Path| {
        let mut name = name.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let names = [Some(with(image)), unpacked_name(image).map(|name| with(&name))];
    names.into_iter().flatten().find(|path| path.is_file())
}

/// The name without the ending that says how it is packed.
fn unpacked_name(image: &Path) -> Option<PathBuf> {
    let name = image.to_str()?;
    let end = PACKED.iter().find(|end| name.len() > end.len() && name.ends_with(**end))?;
    Some(name[..name.len() - end.len()].into())
}

/// The SHA-256 of an image in `FILE.sha256` beside it, as `sha256sum` writes it. It is that of the file as it is, or,
/// if it goes by the name without `.gz` or the like, that of what is in it.
///
/// # Errors
/// The file cannot be read, or has no checksum of the image.
pub fn sum_beside(image: &Path) -> Result<Option<Expected>, SumFileError> {
    let Some(path) = companion(image, ".sha256") else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(Io::on("read", &path))?;
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (own, inner) = (name(image), unpacked_name(image).map(|path| name(&path)));
    let sums: Vec<_> = text.lines().filter_map(parse_line).collect();
    let named = |wanted: &str| sums.iter().find(|(_, name)| *name == wanted).map(|(sum, _)| *sum);
    let given = named(&own).map(Expected::Given);
    let decoded = || inner.as_deref().and_then(named).map(Expected::Decoded);
    let nameless = || match sums.as_slice() {
        [(sum, "")] if path.to_string_lossy().ends_with(&format!("{own}.sha256")) => {
            Some(Expected::Given(*sum))
        }
        [(sum, "")] => Some(Expected::Decoded(*sum)),
        _ => None,
    };
    let found = given.or_else(decoded).or_else(nameless);
    found.map(Some).ok_or(SumFileError::OtherFile { path, image: own })
}

/// `HEX  NAME`, `HEX *NAME`, `HEX` or `SHA256 (NAME) = HEX`; the name without directories.
fn parse_line(line: &str) -> Option<(Sha256Sum, &str)> {
    let line = line.trim();
    let (sum, name) = match line.strip_prefix("SHA256 (").and_then(|rest| rest.rsplit_once(") = ")) {
        Some((name, sum)) => (sum, name),
        None => line.split_once(char::is_whitespace).unwrap_or((line, "")),
    };
    let name = name.trim_start();
    let name = name.strip_prefix('*').unwrap_or(name);
    Some((sum.parse().ok()?, name.rsplit('/').next().unwrap_or(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_as_tools_write_them() {
        let sum = Sha256Sum([0xab; 32]);
        let hex = "ab".repeat(32);
        for (line, name) in [
            (format!("{hex}  disk.img"), "disk.img"),
            (format!("{hex} *out/disk.img"), "disk.img"),
            (format!("SHA256 (a (b).img) = {hex}"), "a (b).img"),
            (format!("{}\n", hex.to_uppercase()), ""),
        ] {
            assert_eq!(parse_line(&line), Some((sum, name)), "{line}");
        }
        assert_eq!(parse_line("# comment"), None);
        assert_eq!(parse_line(&format!("{hex}00  disk.img")), None);
    }

    #[test]
    fn a_sum_is_that_of_the_file_or_of_what_is_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let image = dir.path().join("disk.img.xz");
        let (a, b) = ("ab".repeat(32), "cd".repeat(32));
        let put = |name: &str, text: String| std::fs::write(dir.path().join(name), text).expect("write");
        assert_eq!(sum_beside(&image).expect("nothing there"), None);
        put("disk.img.sha256", a.clone());
        assert_eq!(sum_beside(&image).expect("one"), Some(Expected::Decoded(Sha256Sum([0xab; 32]))));
        put("disk.img.xz.sha256", format!("{a}  disk.img\n{b}  disk.img.xz\n"));
        assert_eq!(sum_beside(&image).expect("two"), Some(Expected::Given(Sha256Sum([0xcd; 32]))));
        put("disk.img.xz.sha256", format!("{a}  disk.img\n"));
        assert_eq!(sum_beside(&image).expect("one"), Some(Expected::Decoded(Sha256Sum([0xab; 32]))));
        put("disk.img.xz.sha256", format!("{a}  other.img.xz\n"));
        let error = sum_beside(&image).expect_err("about another");
        let path = dir.path().join("disk.img.xz.sha256");
        assert_eq!(error.to_string(), format!("`{}` has no SHA-256 of `disk.img.xz`", path.display()));
        assert_eq!(error.hint().as_deref(), Some("move that file away, or give the right sum"));
    }
}
