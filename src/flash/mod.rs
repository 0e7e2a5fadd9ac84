//! Writing a medium so that it either boots or clearly does not: [`safety`] refuses what could destroy
//! something, [`mod@existing`] tells which partition is which, [`commit`] writes, reads back and only then writes
//! what makes the medium bootable, [`verify`] compares a medium with what was recorded, [`image`] copies a ready
//! image, [`bmap`] tells others which blocks matter.

pub mod bmap;
pub mod commit;
pub mod event;
pub mod existing;
mod held;
pub mod image;
mod lanes;
pub mod safety;
mod sums;
pub mod verify;

pub use bmap::{Bmap, BmapError};
pub use commit::{Commit, Critical, FlashError};
pub use event::{Event, Listener, Phase, Silent};
pub use existing::{Existing, existing};
pub use image::{Image, ImageError};
pub use safety::{Candidate, Host, Reason, Refused};
pub use verify::{Damage, RegionRange};
