//! Frequent causes of failed builds, found in the output of Buildroot and compilers, with their remedies.

/// A cause that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A downloaded file has another hash than the package states (`support/download/check-hash`).
    Hash {
        /// Name of the file.
        file: String,
    },
    /// A package states no hash for a file.
    NoHash {
        /// Name of the file.
        file: String,
    },
    /// A file could not be downloaded.
    Download {
        /// Address that was tried first.
        url: String,
    },
    /// Kernel headers are of another version than was chosen (`support/scripts/check-kernel-headers.sh`).
    Headers {
        /// Version that was found, with the one that was expected.
        found: String,
    },
    /// A program of the machine is missing (`support/dependencies/dependencies.sh`, or a shell).
    Program {
        /// Its name.
        name: String,
    },
    /// The filesystem is full.
    Space,
    /// The kernel ended a program because there was no memory.
    Memory,
    /// The configuration has options of an older Buildroot (`Makefile.legacy`).
    Legacy,
}

impl Cause {
    /// Looks for one in what a step printed. The hash is looked for first: what follows it is its consequence.
    pub fn find(lines: &[String], downloads: bool) -> Option<Cause> {
        let first = |cause: fn(&str) -> Option<Cause>| lines.iter().find_map(|line| cause(line));
        first(hash).or_else(|| first(general)).or_else(|| first(memory)).or_else(|| {
            let url = lines.iter().find_map(|line| url(line)).filter(|_| downloads);
            url.map(|url| Cause::Download { url })
        })
    }

    /// Remedy, as a sentence without a full stop.
    pub fn hint(&self) -> String {
        match self {
            Cause::Hash { file } => format!(
                "remove `{file}` from the directory of downloads and try again; if its hash is wrong again, the file has \
                 changed where it comes from: state the new hash in the .hash file of the package, or take another version"
            ),
            Cause::NoHash { file } => {
                format!("state the hash of `{file}` in the .hash file of the package or of a patch directory")
            }
            Cause::Download { url } => format!(
                "`{url}` could not be fetched, nor from a mirror: look whether the machine is online, set BR2_PRIMARY_SITE \
                 to a mirror that has it, or put the file into the package's directory of BR2_DL_DIR"
            ),
            Cause::Headers { found } => format!(
                "the kernel headers are not of the version that is configured ({found}): set \
                 BR2_PACKAGE_HOST_LINUX_HEADERS_CUSTOM_* or BR2_TOOLCHAIN_EXTERNAL_HEADERS_* to theirs"
            ),
            Cause::Program { name } => format!("install `{name}` on this machine, and try again"),
            Cause::Space => "free space on the filesystem of the workspace, and try again: what is built stays".into(),
            Cause::Memory => {
                "the machine ran out of memory: set BR2_JLEVEL to fewer jobs, or add swap, and try again".into()
            }
            Cause::Legacy => {
                "`skiff-image buildroot menuconfig` shows them under `Legacy config options`; correct the layers".into()
            }
        }
    }
}

fn hash(line: &str) -> Option<Cause> {
    let rest = line.strip_prefix("ERROR: ")?;
    if let Some(file) = rest.strip_prefix("No hash found for ") {
        return Some(Cause::NoHash { file: file.into() });
    }
    let (file, _) = rest.split_once(" has wrong ").filter(|(_, kind)| kind.contains(" hash"))?;
    Some(Cause::Hash { file: file.into() })
}

fn general(line: &str) -> Option<Cause> {
    if line.contains("No space left on device") || line.contains("Disk quota exceeded") {
        return Some(Cause::Space);
    }
    if line.contains("You have legacy configuration in your .config") {
        return Some(Cause::Legacy);
    }
    if let Some((_, found)) = line.split_once("Incorrect selection of kernel headers: ") {
        return Some(Cause::Headers { found: found.into() });
    }
    program(line).map(|name| Cause::Program { name: name.into() })
}

/// `You must install 'X' on your build machine`, and what shells say: `sh: 1: X: not found`,
/// `bash: line 1: X: command not found`.
fn program(line: &str) -> Option<&str> {
    if let Some((_, rest)) = line.split_once("ou must install '") {
        return rest.split('\'').next();
    }
    let before = line.strip_suffix(": command not found").or_else(|| line.strip_suffix(": not found"))?;
    let is_shell = line.split(':').next()?.rsplit('/').next().is_some_and(|name| name.ends_with("sh"));
    before.rsplit(": ").next().filter(|name| is_shell && !name.contains(' ') && *name != before)
}

fn memory(line: &str) -> Option<Cause> {
    let words = ["Killed signal terminated program", "virtual memory exhausted", "Cannot allocate memory"];
    let is_killed = line == "Killed" || line.ends_with(" Killed") || line.contains(" Killed  ");
    (is_killed || words.iter().any(|word| line.contains(word))).then_some(Cause::Memory)
}

/// The first address of a line.
fn url(line: &str) -> Option<String> {
    let schemes = ["https://", "http://", "ftp://", "git://", "ssh://"];
    let start = schemes.iter().filter_map(|scheme| line.find(scheme)).min()?;
    let url = line[start..]
        .split(|c: char| c.is_whitespace() || "'\"<>`;)".contains(c))
        .next()?
        .trim_end_matches([':', ',', '.']);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(lines: &[&str]) -> String {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Cause::find(&lines, true).map_or("none".into(), |cause| cause.hint())
    }

    #[test]
    fn causes_are_told_with_what_to_do() {
        assert_eq!(
            hint(&[
                "wget -nd -t 3 -O '/dl/x' 'https://example.org/x-1.tar.gz'",
                "ERROR: while checking hashes from package/x/x.hash",
                "ERROR: x-1.tar.gz has wrong sha256 hash:",
                "ERROR: expected: 00",
            ]),
            "remove `x-1.tar.gz` from the directory of downloads and try again; if its hash is wrong again, the file has \
             changed where it comes from: state the new hash in the .hash file of the package, or take another version"
        );
        assert_eq!(
            hint(&["ERROR: No hash found for x-1.tar.gz"]),
            "state the hash of `x-1.tar.gz` in the .hash file of the package or of a patch directory"
        );
        assert_eq!(
            hint(&[
                "wget -nd -t 3 -O '/build/.x.tar.gz.abc/output' 'https://example.org/x-1.tar.gz'",
                "--2026-01-01 10:00:00--  https://sources.buildroot.net/x/x-1.tar.gz",
                "wget: unable to resolve host address 'sources.buildroot.net'",
            ]),
            "`https://example.org/x-1.tar.gz` could not be fetched, nor from a mirror: look whether the machine is online, \
             set BR2_PRIMARY_SITE to a mirror that has it, or put the file into the package's directory of BR2_DL_DIR"
        );
        assert_eq!(
            hint(&["Incorrect selection of kernel headers: expected 6.12.x, got 6.6.x"]),
            "the kernel headers are not of the version that is configured (expected 6.12.x, got 6.6.x): set \
             BR2_PACKAGE_HOST_LINUX_HEADERS_CUSTOM_* or BR2_TOOLCHAIN_EXTERNAL_HEADERS_* to theirs"
        );
        for line in [
            "You must install 'bc' on your build machine",
            "/bin/sh: 1: bc: not found",
            "bash: line 3: bc: command not found",
            "/bin/bash: line 1: bc: command not found",
        ] {
            assert_eq!(hint(&[line]), "install `bc` on this machine, and try again", "{line}");
        }
        for line in ["cp: error writing 'x': No space left on device", "write: Disk quota exceeded"] {
            let expected =
                "free space on the filesystem of the workspace, and try again: what is built stays";
            assert_eq!(hint(&[line]), expected);
        }
        for line in [
            "Killed",
            "x86_64-linux-gcc: fatal error: Killed signal terminated program cc1plus",
            "/bin/sh: line 1:  4242 Killed                  cc1 x.c",
            "cc1: out of memory: virtual memory exhausted",
        ] {
            let expected =
                "the machine ran out of memory: set BR2_JLEVEL to fewer jobs, or add swap, and try again";
            assert_eq!(hint(&[line]), expected, "{line}");
        }
        assert_eq!(
            hint(&["You have legacy configuration in your .config! Please check your configuration."]),
            "`skiff-image buildroot menuconfig` shows them under `Legacy config options`; correct the layers"
        );
    }

    #[test]
    fn what_only_looks_like_a_cause_is_none() {
        for line in [
            "checking for bc: not found",
            "configure: bison: not found",
            "x.c:1: error: `Killed` undeclared",
            "ERROR: x has wrong permissions",
        ] {
            assert_eq!(hint(&[line]), "none", "{line}");
        }
    }
}
