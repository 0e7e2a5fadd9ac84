//! Copies a ready image.

use super::commit::{Commit, Done, FlashOptions};
use crate::error::Result;
use crate::event::Listener;
use crate::source::Image;
use crate::storage::Target;

impl Image {
    /// Checks the image and copies it: the first and last MiB last, see [`Commit::run`]. What the image has as a hole
    /// or as zeros is zero on the target too, unless the block map says that it does not matter. `used` is
    /// [`Commit::used`].
    pub fn copy(
        &self,
        target: &dyn Target,
        used: bool,
        listener: &dyn Listener,
        options: FlashOptions<'_>,
    ) -> Result<Done> {
        self.examine(target.name(), target.geometry())?;
        self.check(listener)?;
        Commit { target, used, regions: &[], listener, options }.run(self)
    }
}
