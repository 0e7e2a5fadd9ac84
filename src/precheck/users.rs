//! Lines of `users/` of layers that no users table can have.

use super::Foreseen;
use crate::error::{Diagnostic, Result};
use crate::layer::{Layer, fragment};
use crate::rootfs::{UsersTable, UsersTableError};

/// Every malformed line, and in files without one the ids that are given twice.
pub(super) fn malformed(layers: &[Layer]) -> Result<Vec<Foreseen>> {
    let mut found = Vec::new();
    for part in fragment::users(layers)? {
        let before = found.len();
        for (index, line) in part.text.lines().enumerate() {
            // A table is parsed up to its first mistake; the empty lines keep the number.
            let alone = "\n".repeat(index) + line;
            found.extend(UsersTable::parse(&part.file, &alone).err().map(|error| told(&error)));
        }
        if found.len() == before {
            found.extend(UsersTable::parse(&part.file, &part.text).err().map(|error| told(&error)));
        }
    }
    Ok(found)
}

fn told(error: &UsersTableError) -> Foreseen {
    let hint = error.hint().unwrap_or_else(|| {
        "a line is `user uid group gid password home shell groups comment`, with `-` for what there is not".into()
    });
    Foreseen::new(error.to_string(), hint)
}
