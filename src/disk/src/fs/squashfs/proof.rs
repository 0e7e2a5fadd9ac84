//! Proves that an image is what was meant: it is read back and compared with the layout and with the digests that
//! were taken from the sources.
//!
//! Contents, names, modes, owners, times, link targets and device numbers go through
//! [`second_reader`](super::second_reader), which shares no code with the writer. Attributes, link counts, the
//! places of inodes, the export table and the indexes of large directories, which it does not read, go through our
//! own reader; so does everything else where the tree is beyond the second reader.

use std::io::BufReader;

use rayon::ThreadPool;

use super::layout::Layout;
use super::write::{Written, thread_pool};
use super::{Resources, SquashfsError, read, second_reader};
use crate::error::Diagnostic;
use crate::fs::Damage;
use crate::storage::Region;

/// Number of damaged files that a message names.
const NAMED: usize = 5;

/// An image that is what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proof {
    /// Names of regular files whose contents were compared.
    pub files: usize,
    /// Reason why our own reader had to read the contents, if it had.
    pub without_second_reader: Option<String>,
}

/// Reason why an image is not what was meant.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(
    kind = Mismatch,
    hint = "compose it again; if that fails too, the memory or disk of this machine is failing, or this \
            program has a fault, which its authors want to know"
)]
#[non_exhaustive]
pub enum ProofError {
    /// Something reads back other than it was meant.
    #[error("`{image}` is not what was to be written: {}", listed(damages))]
    Damaged {
        /// The region.
        image: String,
        /// All that is wrong.
        damages: Vec<Damage>,
    },
    /// The tables are so wrong that nothing can be read.
    #[error("`{image}` is not what was to be written: {reason}")]
    Unreadable {
        /// The region.
        image: String,
        /// Error of a reader.
        reason: String,
    },
}

fn listed(damages: &[Damage]) -> String {
    let mut text: Vec<String> = damages.iter().take(NAMED).map(Damage::to_string).collect();
    if damages.len() > NAMED {
        text.push(format!("and {} more", damages.len() - NAMED));
    }
    text.join(", ")
}

/// Reads back what [`write`](super::write()) has put into `region`.
///
/// # Errors
/// [`ProofError`] if anything differs, and what the target says if it cannot be read.
pub fn prove(
    layout: &Layout,
    region: &Region,
    written: &Written,
    resources: &Resources,
) -> Result<Proof, SquashfsError> {
    prove_on(&thread_pool(resources.threads)?, layout, region, written)
}

/// The same on the threads of a pool.
pub(super) fn prove_on(
    pool: &ThreadPool,
    layout: &Layout,
    region: &Region,
    written: &Written,
) -> Result<Proof, SquashfsError> {
    let image = || region.cursor(written.len);
    let buffered = || BufReader::new(image());
    let without_second_reader = second_reader::beyond(layout.tree);
    let mut damages = match &without_second_reader {
        Some(_) => tables(region, read::check_files(buffered(), &written.files))?,
        None => match pool.install(|| second_reader::compare(image(), layout, &written.files)) {
            Ok(damages) => damages,
            Err(reason) => {
                return Err(unreadable(region, reason, read::check_files(buffered(), &written.files)));
            }
        },
    };
    let seen: std::collections::HashSet<Damage> = damages.iter().cloned().collect();
    let others = tables(region, read::compare(buffered(), layout, written))?;
    damages.extend(others.into_iter().filter(|damage| !seen.contains(damage)));
    if !damages.is_empty() {
        return Err(ProofError::Damaged { image: region.name().into(), damages }.into());
    }
    Ok(Proof { files: written.files.len(), without_second_reader })
}

/// Tables that cannot be read are a fault of the image too.
fn tables(region: &Region, found: Result<Vec<Damage>, SquashfsError>) -> Result<Vec<Damage>, SquashfsError> {
    found.map_err(|error| match error {
        SquashfsError::Corrupt(_) | SquashfsError::UnsupportedCodec(_) => {
            ProofError::Unreadable { image: region.name().into(), reason: error.to_string() }.into()
        }
        other => other,
    })
}

/// Reads on with our own reader where the second one gives up, to name what is damaged.
fn unreadable(region: &Region, reason: String, own: Result<Vec<Damage>, SquashfsError>) -> SquashfsError {
    let image = region.name().to_owned();
    match own {
        Ok(damages) if !damages.is_empty() => ProofError::Damaged { image, damages }.into(),
        _ => ProofError::Unreadable { image, reason }.into(),
    }
}
