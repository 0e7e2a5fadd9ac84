//! Errors of putting the parts of an image together.

use std::path::PathBuf;

use crate::error::Diagnostic;

/// Reason why the parts of an image cannot be put together.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum StageError {
    /// A file stands where the settings of slots belong.
    #[error("`{path}` of the root filesystem is no directory, and the settings of the slots belong there")]
    #[diagnostic(hint = "remove it from the layer that brings it", code = "slots-in-the-way")]
    SlotsInTheWay {
        /// The path.
        path: String,
    },
    /// A file the board needs is not among the images.
    #[error("{wanted} needs {} in `{}`", one_of(candidates), directory.display())]
    #[diagnostic(
        hint = hint.clone().or_else(|| Some("build it, or give the directory that has it".into())),
        code = hint.is_none().then_some("missing-image")
    )]
    MissingImage {
        /// User of the image.
        wanted: String,
        /// Names that were tried.
        candidates: Vec<String>,
        /// Directory in which it was looked for.
        directory: PathBuf,
        /// Advice in the descriptor of the board.
        hint: Option<String>,
    },
    /// A file is not what a blob should be.
    #[error("blob `{blob}`: `{file}` has {found} at byte {at} but {expected} is expected")]
    #[diagnostic(kind = Corrupt, hint = "check that it was built for this board")]
    WrongMagic {
        /// The blob.
        blob: String,
        /// The file.
        file: String,
        /// Offset in the file.
        at: u64,
        /// Expected bytes.
        expected: String,
        /// Found bytes.
        found: String,
    },
    /// Two sources for one path.
    #[error("`{path}` is placed twice: by {first} and by {second}")]
    #[diagnostic(hint = "exclude it from the directory that brings it along")]
    PlacedTwice {
        /// Path on the partition.
        path: String,
        /// The first source.
        first: String,
        /// The second.
        second: String,
    },
    /// Two names that differ in case only.
    #[error(
        "`{first}` of {first_origin} and `{second}` of {second_origin} are the same name on the FAT of {what}"
    )]
    #[diagnostic(hint = "rename one of them: FAT ignores case")]
    CaseCollision {
        /// The partition or artifact.
        what: String,
        /// One path.
        first: String,
        /// Origin of the first.
        first_origin: String,
        /// The other path.
        second: String,
        /// Origin of the second.
        second_origin: String,
    },
    /// A path of the root filesystem that is placed is not there.
    #[error("{what} needs `{path}`, which is not in the root filesystem")]
    #[diagnostic(hint = "build what brings it, or change the board")]
    MissingPath {
        /// The partition or artifact.
        what: String,
        /// The path.
        path: String,
    },
    /// A file is in the way of a directory.
    #[error("`{path}` cannot be made: `{file}` of {origin} is a {kind}")]
    #[diagnostic(hint = "name the path that the link leads to, or exclude what is in the way")]
    BelowFile {
        /// The directory that is wanted.
        path: String,
        /// Path of the entry in the way.
        file: String,
        /// Kind of that entry.
        kind: &'static str,
        /// Origin of that entry.
        origin: String,
    },
    /// The id of a partition of another disk is not known.
    #[error("`@{{{word}}}` is the id of the partition that the image goes to, and that is not known")]
    #[diagnostic(hint = "`blkid -s PARTUUID -o value /dev/sdXN` prints it", code = "no-partuuid")]
    NoPartuuid {
        /// The word.
        word: String,
    },
    /// A directory that an artifact is made of is not there.
    #[error("artifact `{artifact}` is made of `{subtree}`, which is not a directory of the root filesystem")]
    #[diagnostic(hint = "build the kernel modules, or change the board")]
    MissingSubtree {
        /// The artifact.
        artifact: String,
        /// The directory.
        subtree: String,
    },
    /// An image that holds nothing of what it is for.
    #[error("artifact `{artifact}` would {lacks}: `{subtree}` of the root filesystem has {found}")]
    #[diagnostic(hint = how_to_fill(taken.as_deref()))]
    OfNoUse {
        /// The artifact.
        artifact: String,
        /// The directory.
        subtree: String,
        /// Verb and pattern of what it lacks.
        lacks: String,
        /// Files that are there.
        found: String,
        /// Layer whose hook moves the files away.
        taken: Option<String>,
    },
    /// A variable that is made of itself.
    #[error("variable `{word}` of board `{board}` is made of itself")]
    #[diagnostic(hint = "write its text out in `[vars]`")]
    CircularVariable {
        /// The board.
        board: String,
        /// One of the variables of the circle.
        word: String,
    },
    /// A name holds the version of the system, and there is none.
    #[error("{user} needs `@{{version}}`, but `{path}` with a line `VERSION=...` is not there", path = path.display())]
    #[diagnostic(hint = "SkiffOS builds write it; for another build write the line there")]
    NoVersion {
        /// Text that needs it.
        user: String,
        /// The file that would say.
        path: PathBuf,
    },
    /// A file that Buildroot does not make with its present configuration.
    #[error("`{}` is from another configuration: {reason}", path.display())]
    #[diagnostic(
        hint("build again and remove what the earlier configuration left in `{}`", images.display())
    )]
    StaleArtifact {
        /// The file.
        path: PathBuf,
        /// Reason in the configuration.
        reason: String,
        /// Directory that has it.
        images: PathBuf,
    },
}

impl StageError {
    /// Text of the note for a stale artifact that is passed over.
    pub(super) fn note(&self) -> String {
        match self {
            StageError::StaleArtifact { path, reason, .. } => {
                format!("`{}` is left out: it is from another configuration: {reason}", path.display())
            }
            other => other.to_string(),
        }
    }
}

fn how_to_fill(taken: Option<&str>) -> String {
    match taken {
        None => "build what belongs there, or change the board".into(),
        Some(layer) => format!(
            "`hooks/pre.sh` of layer `{layer}` has moved the files away: run `skiff-image buildroot linux-reinstall`, then \
             `skiff-image compile` without Buildroot's own images, which leaves that hook out"
        ),
    }
}

fn one_of(candidates: &[String]) -> String {
    let names: Vec<String> = candidates.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [one] => format!("{one}, which is not"),
        several => format!("one of {}, but none of them is", several.join(", ")),
    }
}
