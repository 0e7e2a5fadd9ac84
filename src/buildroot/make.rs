//! Buildroot's make, called as Buildroot wants it (`Makefile`): out of its tree, with canonical paths and the umask
//! 0022, without the variables that a make around this program has set.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::process::Program;

/// The umask with which Buildroot works; with another one it starts itself again.
const UMASK: u16 = 0o022;
/// Variables that a make gives to those it starts, and that would change the configuration behind our back.
const TAKEN: [&str; 6] = ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BR2_EXTERNAL", "BR2_DEFCONFIG", "BR2_CONFIG"];

/// Calls of make for one workspace.
#[derive(Clone, Debug)]
pub struct Make {
    /// Buildroot's tree, which is only read.
    pub source: PathBuf,
    /// Directory for all that it makes: `O=`, the workspace. Made by the caller.
    pub output: PathBuf,
    /// Variables for make and all that it starts, besides our own: `BR2_DL_DIR`, and those that layers know.
    pub environment: Vec<(OsString, OsString)>,
}

impl Make {
    /// A call for these goals, or with these variables and flags.
    pub fn goals<A: AsRef<OsStr>>(&self, goals: impl IntoIterator<Item = A>) -> Program {
        let environment = self.environment.iter();
        let taken = TAKEN.iter().fold(Program::new("make").umask(UMASK), |make, name| make.without_env(name));
        let make = environment.fold(taken, |make, (name, value)| make.env(name, value));
        // Its messages are read here.
        let make = make.env("LC_ALL", "C").arg("--no-print-directory").arg("-C").arg(canonical(&self.source));
        make.arg(variable("O", &canonical(&self.output))).args(goals)
    }

    /// A call that makes `.config` of a request, with these external trees, which Buildroot remembers.
    pub fn defconfig(&self, request: &Path, externals: &[PathBuf]) -> Program {
        let mut list = OsString::new();
        for (index, external) in externals.iter().enumerate() {
            list.push(if index == 0 { "" } else { ":" });
            list.push(external);
        }
        let request = variable("BR2_DEFCONFIG", &canonical(request));
        self.goals([OsStr::new("defconfig"), &request, &variable("BR2_EXTERNAL", Path::new(&list))])
    }
}

/// An assignment on make's command line.
fn variable(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(name);
    text.push("=");
    text.push(value);
    text
}

/// Without links and dots, which Buildroot would start itself again for; as it is if it is not there.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.into())
}
