//! The root filesystem of an image: from the Buildroot output that has it to a tree that is ready to be formatted.
//!
//! Buildroot does the same under fakeroot when it makes an image (`fs/common.mk`): users, owners, modes, device nodes,
//! capabilities and enabled units. Here it is done on a tree in memory.

mod accounts;
pub mod capability;
mod device_table;
mod finish;
mod output;
pub mod presets;
mod users_table;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use accounts::AccountsError;
pub use device_table::{DeviceTable, DeviceTableError};
pub use finish::{RootInputs, RootTree, root_tree};
pub use output::{Handoff, Output, OutputError, RootSource};
pub use users_table::{PasswordMethod, UsersTable, UsersTableError};

/// A line of a users or device table, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLine {
    /// The table.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: usize,
}

impl fmt::Display for TableLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}:{}`", self.file.display(), self.line)
    }
}
