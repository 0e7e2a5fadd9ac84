//! Writing a medium so that it either boots or clearly does not: [`safety`] refuses what could destroy something,
//! [`mod@loss`] tells what is on a medium already and [`mod@existing`] which partition is which, [`commit`] writes what a
//! [`source`] has, reads back and only then writes what makes the medium bootable; before that [`grow`] makes an image fit
//! a larger medium. [`probe`] asks whether a medium is as large as it says, [`diagnose`] what is wrong with one that does
//! not hold what it was given. [`journal`] and [`marker`] let a later run go on, [`verify`] compares a medium with what was
//! recorded, [`summary`] measures, [`bmap`] tells others which blocks matter.

pub mod bmap;
mod changed;
mod clear;
pub mod commit;
pub mod diagnose;
pub mod event;
mod examine;
pub mod existing;
pub mod failure;
pub mod grow;
pub mod health;
mod held;
pub mod journal;
mod lanes;
pub mod loss;
pub mod marker;
mod order;
pub mod probe;
mod progress;
mod rewrite;
pub mod safety;
pub mod source;
pub mod summary;
mod sums;
pub mod verify;

pub use bmap::{Bmap, BmapError};
pub use commit::{Commit, Critical, Done, Options, Rewritten, Unwritten};
pub use diagnose::{Code, Diagnosis, Evidence};
pub use event::{Event, Listener, Phase, Silent};
pub use existing::{Existing, existing};
pub use failure::{FlashError, TableState};
pub use grow::{Fit, Fitted, Growth, Stays};
pub use journal::{Journal, JournalError};
pub use loss::{Destruction, Loss, loss};
pub use probe::CapacityError;
pub use safety::{Candidate, Disk, Host, Mount, Override, Overrides, Reason, Refused};
pub use source::{Broadcast, HeldBack, Image, ImageError, Source};
pub use summary::{Meter, Summary};
pub use verify::{Damage, RegionRange};
