//! Recognizes the contents of a range of a medium: [`content()`] and [`superblock()`] ask the readers of this program, [`release`] looks
//! for the release file of a system, [`outline`] for what a disk says about itself, [`file`](mod@file) for what is no disk at all.
//! First bytes of formats that none of them reads are in `skiff_signatures`.

mod content;
pub mod file;
pub mod outline;
pub mod release;
mod superblock;

pub use content::{Content, content};
pub use superblock::{Superblock, superblock};
/// Text without what would move the cursor of a terminal: names come from whoever wrote the medium.
pub fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}
