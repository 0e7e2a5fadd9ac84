//! Settings of the layers that did not become effective, without those for which that is as it should be.

use super::Inputs;
use super::closing::{IMAGES, WHO};
use crate::buildroot::config::Config;
use crate::buildroot::effective::{Dropped, compare};
use crate::buildroot::kconfig::Definitions;
use crate::error::Io;
use crate::layer::merge::Merged;

/// Looks at the `.config` that is there.
pub(super) fn find(inputs: &Inputs<'_>, request: &Merged) -> Result<Vec<Dropped>, Io> {
    let path = inputs.workspace.output().join(".config");
    let text = std::fs::read(&path).map_err(Io::on("read", &path))?;
    let config = Config::parse(&String::from_utf8_lossy(&text));
    let definitions = Definitions::for_buildroot(&inputs.source.path, &inputs.workspace.output());
    let mut dropped = compare(request, &config, &definitions);
    dropped.retain(|dropped| is_of_interest(dropped, inputs.selection.asked.keep_images));
    Ok(dropped)
}

fn is_of_interest(dropped: &Dropped, keep_images: bool) -> bool {
    // Where fragments and patches are is said for kernel and boot loader that are not built, too.
    let is_ours = dropped.requested.layer == WHO;
    // What describes an image that is left out is left out with it.
    let of_image = !keep_images && dropped.symbol.starts_with(IMAGES);
    // A later layer has chosen otherwise.
    !is_ours && !of_image && !is_replaced(dropped) && !dropped.is_override()
}

/// Returns whether a setting is no request: Kconfig notes itself where a defconfig is from, though SkiffOS' base sets it, and
/// the words of that base stand for what configure puts in their place.
pub fn is_replaced(dropped: &Dropped) -> bool {
    dropped.symbol == "BR2_DEFCONFIG" || dropped.requested.value.as_str().contains("REPLACEME_")
}
