//! Reasons why GRUB cannot be put together.

use std::path::PathBuf;

use crate::error::Diagnostic;
use crate::value::ByteSize;

/// Reason why GRUB cannot be put together.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "build GRUB for `i386-pc` again; all its files are of one build")]
pub enum GrubError {
    /// A file of GRUB's build is not there.
    #[error("`{name}` of GRUB is not in `{}`", directory.display())]
    #[diagnostic(
        kind = Input,
        suggestion = suggestion,
        hint = "build GRUB for `i386-pc` and put the files of its build there"
    )]
    Missing {
        /// Its name.
        name: String,
        /// Directory in which it was looked for.
        directory: PathBuf,
        /// A module of nearly that name.
        suggestion: Option<String>,
    },
    /// A line of `moddep.lst` names no module.
    #[error("`{}:{line}`: no colon behind the name of a module", file.display())]
    Dependency {
        /// The list.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A module needs itself, over others or at once.
    #[error("the GRUB module `{module}` needs itself")]
    Cycle {
        /// The module.
        module: String,
    },
    /// A file is not as long as a sector.
    #[error("`{name}` of GRUB has {found} bytes but a sector has 512")]
    NotASector {
        /// Its name.
        name: &'static str,
        /// Its length in bytes.
        found: usize,
    },
    /// `boot.img` is not a boot sector.
    #[error("`boot.img` of GRUB ends with {:02x} {:02x} but a boot sector ends with 55 aa", found[0], found[1])]
    Signature {
        /// Its last two bytes.
        found: [u8; 2],
    },
    /// `kernel.img` is for another machine, or broken.
    #[error("`kernel.img` of GRUB is not for `i386-pc`: {problem}")]
    Kernel {
        /// Fault.
        problem: String,
    },
    /// `lzma_decompress.img` is broken or for another GRUB.
    #[error("`lzma_decompress.img` of GRUB has {found} bytes but it needs {minimum} to {maximum}")]
    Decompressor {
        /// Its length in bytes.
        found: usize,
        /// Bytes up to the last field that is filled.
        minimum: usize,
        /// Bytes between its address and the kernel's.
        maximum: usize,
    },
    /// The memory of a PC below 640 KiB is not enough.
    #[error("{what} of GRUB has {} but {} fit into the memory below 640 KiB", ByteSize(*found), ByteSize(*limit))]
    #[diagnostic(kind = Fit, hint = "take modules out of the core image; GRUB loads others from the disk")]
    TooLarge {
        /// The core image, or the kernel.
        what: &'static str,
        /// Bytes it has.
        found: u64,
        /// Bytes there are.
        limit: u64,
    },
    /// The compressor failed.
    #[error("cannot compress the core image of GRUB: {0}")]
    #[diagnostic(kind = Io, hint = "free memory and try again")]
    Compress(#[source] liblzma::stream::Error),
}
