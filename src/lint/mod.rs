//! Rules of boot ROMs and boot loaders, and whether a layout keeps them.
//!
//! A layout can be right in itself and still boot nothing: the ROM of a SoC looks for its loader at one place, a boot
//! manager reads no ext4 with small blocks, a boot text names a file that nobody placed. [`RuleSet`](crate::board::RuleSet)s say such things
//! as data, each with its source; a [`PlannedMedium`] is what they are about, of a descriptor alone (`boards check`) or of a
//! plan with its contents (everything that composes); [`lint`] reports what is not kept.

mod check;
mod console;
mod ext4;
mod files;
mod finding;
mod medium;
mod text;

pub use console::login_apart;
pub use ext4::Ext4;
pub use files::PartitionFiles;
pub use finding::{Finding, LintError, refuse};
pub use medium::{FilesystemImage, PlannedBlob, PlannedMedium, PlannedVolume, StagedContents};
pub use text::{BootText, Setting};

use crate::board::Board;
use crate::error::Result;
use crate::stage::TemplateVariables;
use crate::value::{Arch, ByteSize};

/// Media that a descriptor is tried on, besides the least and its own smallest: a card as it is sold for 16 GB
/// (31116288 sectors), and 128 GB.
const MEDIA: [ByteSize; 2] = [ByteSize(31_116_288 * 512), ByteSize(128_000_000_000)];

/// Returns the violations of a layout against the rules of its board.
pub fn lint(medium: &PlannedMedium<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for set in &medium.board.rules {
        for rule in &set.rules {
            let violations = check::violations(&rule.check, medium);
            found.extend(violations.into_iter().map(|violation| Finding::new(set, rule, violation)));
        }
    }
    found
}

/// Returns the violations of a descriptor, whatever is put on the medium: for each of its architectures, on media of
/// several sizes.
pub fn lint_board(board: &Board) -> Result<Vec<Finding>> {
    let mut found: Vec<Finding> = Vec::new();
    for arch in &board.arch {
        for finding in lint_for(board, *arch)? {
            if !found.contains(&finding) {
                found.push(finding);
            }
        }
    }
    Ok(found)
}

fn lint_for(board: &Board, arch: Arch) -> Result<Vec<Finding>> {
    let variables = TemplateVariables::assumed(board, arch)?;
    let board = variables.fill(board.clone())?;
    let least = PlannedMedium::for_board(&board, arch, &variables, None)?;
    let mut found = lint(&least);
    let larger = [board.minimum_medium].into_iter().chain(MEDIA).filter(|len| len.0 >= least.len);
    for len in larger {
        // Whole MiB fit whatever the sectors are.
        let len = len.0 >> 20 << 20;
        if len >= least.len {
            found.extend(lint(&PlannedMedium::for_board(&board, arch, &variables, Some(len))?));
        }
    }
    Ok(found)
}
