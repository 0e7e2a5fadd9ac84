//! Choice of the image that is started, and of the one that follows when that fails.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::options::{IMAGES, INITS, Options};

/// The images that may be started, in two ranks; of each the first that exists counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub current: Vec<PathBuf>,
    pub previous: Vec<PathBuf>,
}

impl Choice {
    /// The images of these settings. A previous image stands beside its successor, unless it is named.
    pub fn new(options: &Options, exists: impl Fn(&Path) -> bool) -> Choice {
        let mut current = match &options.squashfs {
            Some(path) => vec![path.clone()],
            None => IMAGES.map(PathBuf::from).to_vec(),
        };
        if let Some(found) = current.iter().find(|path| exists(path)).cloned() {
            current = vec![found];
        }
        let previous = match &options.previous {
            Some(path) => vec![path.clone()],
            None => current.iter().map(|path| with_suffix(path, ".old")).collect(),
        };
        Choice { current, previous }
    }

    /// There is no current image.
    pub fn nothing(&self) -> Failure {
        Failure::NoImage { tried: alternatives(&self.current) }
    }
}

/// The programs that are tried as process 1 of the system; `kernel` is the choice on the kernel's command line.
pub fn inits(options: &Options, kernel: Option<&str>) -> Vec<PathBuf> {
    match &options.init {
        Some(init) => vec![init.clone()],
        None => kernel.into_iter().chain(INITS).map(PathBuf::from).collect(),
    }
}

/// Paths in a message: "`/a`, `/b` or `/c`".
pub fn alternatives(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// `suffix` after the whole name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The digest in the text of a sidecar: 64 hexadecimal digits, then perhaps a name, as `b3sum` prints it.
pub fn stated_digest(text: &str) -> Option<String> {
    let digits = text.split_whitespace().next()?;
    let hexadecimal = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| digits.to_ascii_lowercase())
}

/// The devices that `resize2fs.conf` names, one on a line.
pub fn devices_to_grow(text: &str) -> Vec<PathBuf> {
    text.lines().map(str::trim).filter(|line| line.starts_with("/dev/")).map(PathBuf::from).collect()
}
