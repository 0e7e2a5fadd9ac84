//! Writing a medium so that it either boots or clearly does not: [`commit`] writes what a
//! [`Source`](crate::source::Source) has, reads back and only then writes what makes the medium bootable; before that
//! [`grow`] makes an image fit a larger medium. [`probe`] asks whether a medium is as large as it says, [`journal`]
//! lets a later run go on, [`Broadcast`] feeds several media from one source, [`summary`] measures and [`health`]
//! remembers how media behaved.

mod broadcast;
mod careful;
mod changed;
mod clear;
pub mod commit;
mod copy;
mod critical;
mod deferred;
pub mod failure;
pub mod grow;
pub mod health;
pub mod journal;
mod order;
pub mod probe;
pub(crate) mod progress;
mod rehearsal;
mod run;
pub mod session;
pub mod several;
pub mod summary;

pub use broadcast::{Broadcast, BroadcastError, Reader};
pub use careful::Fallback;
pub use commit::{Commit, Done, FlashOptions, Rewritten, Unwritten};
pub(crate) use deferred::DeferredHeaders;
pub use deferred::header_last;
pub use failure::{FlashError, TableState};
pub use grow::{Fitted, FixedSizeReason, Growth, ResizePolicy};
pub use journal::{Journal, JournalError};
pub use probe::CapacityError;
pub use session::{
    DeviceSession, OpenSession, SessionOptions, SessionOutcome, SessionSource, SessionWarning,
};
pub use summary::{Meter, Summary};
