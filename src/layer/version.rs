//! The version of a project, as its checkout tells.

use std::path::Path;

use crate::interrupt::Interrupt;
use crate::process::{ProcessError, Program};

/// What a checkout is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The newest tag with the number of commits since then, or the commit; marked if files were changed.
    pub name: String,
    /// The commit, abbreviated.
    pub commit: String,
}

impl Version {
    /// The version of the checkout that holds `project`; nothing if it is none, or if there is no git.
    pub fn of(project: &Path) -> Result<Option<Version>, ProcessError> {
        let describe = ["describe", "--tags", "--always", "--dirty"];
        let name = git(project, &describe)?;
        let commit = git(project, &["rev-parse", "--short", "HEAD"])?;
        Ok(name.zip(commit).map(|(name, commit)| Version { name, commit }))
    }
}

/// The last line that git prints about a checkout, if it knows one; warnings stand before it.
fn git(project: &Path, arguments: &[&str]) -> Result<Option<String>, ProcessError> {
    let here = if project.as_os_str().is_empty() { Path::new(".") } else { project };
    let program = Program::new("git").arg("-C").arg(here).args(arguments).env("LC_ALL", "C");
    let mut last = None;
    match program.run(&Interrupt::default(), None, &mut |line| last = Some(line.to_owned())) {
        Ok(ended) => Ok(last.filter(|_| ended.succeeded())),
        Err(ProcessError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
