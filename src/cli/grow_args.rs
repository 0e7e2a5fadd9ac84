//! Options for a ready image that is made as large as the medium.

use clap::Args;

use crate::flash::{Fitted, FixedSizeReason, ResizePolicy};
use crate::report::Report;

/// Growth of a ready image on a larger medium; what is composed is made for it.
#[derive(Debug, Args)]
pub struct GrowArgs {
    /// Leave the last partition of the image and the ext4 in it as small as they are; the backup of a GPT goes to the end
    /// of the medium in any case.
    #[arg(long, requires = "image")]
    no_grow: bool,
}

impl GrowArgs {
    /// Parts of an image that grow: nothing of one whose end is missing.
    pub fn fit(&self, is_cut_off: bool) -> ResizePolicy {
        match (is_cut_off, self.no_grow) {
            (true, _) => ResizePolicy::Nothing,
            (false, true) => ResizePolicy::Table,
            (false, false) => ResizePolicy::LastPartition,
        }
    }

    /// Reports what was made larger, and what was not.
    pub fn report(&self, fitted: &Fitted, report: &Report) {
        let said = fitted.to_string();
        if !said.is_empty() {
            report.note(said);
        }
        for stays in &fitted.kept {
            match stays {
                // What is not ext4 never grows; that is no fault of the image.
                FixedSizeReason::Content { .. } => report.note(stays),
                _ => report.warn(stays),
            }
        }
    }
}
