//! What Buildroot leaves behind, and what it would do to it under fakeroot when it makes an image: users, owners,
//! modes, device nodes, capabilities and enabled units (`fs/common.mk`), done here on a tree in memory.

pub mod capability;
pub mod config;
pub mod configure;
pub mod configured;
pub mod delta;
pub mod device_table;
pub mod drive;
pub mod effective;
pub mod finish;
pub mod hooks;
pub mod kconfig;
mod leftover;
pub mod legal;
pub mod make;
pub mod output;
pub mod presets;
pub mod source;
pub mod stamp;
pub mod users_table;

mod accounts;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use accounts::AccountsError;
pub use finish::{RootInputs, RootTree, root_tree};
pub use leftover::leftover;
pub use output::{Handoff, Output};

/// A line of a table, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}:{}`", self.file.display(), self.line)
    }
}
