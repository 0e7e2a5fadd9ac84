//! Settings that configure itself adds after all layers: where the files and directories of the layers are, and
//! what composing needs.

use std::path::PathBuf;

use crate::layer::fragment::quoted;
use crate::layer::merge::{Assignment, Merged};

/// Name that stands in place of a layer for settings of this program.
pub const WHO: &str = "skiff-image";
/// Symbols that choose and describe Buildroot's own images.
pub(super) const IMAGES: &str = "BR2_TARGET_ROOTFS_";
/// On by default.
const TAR: &str = "BR2_TARGET_ROOTFS_TAR";
/// Compiler flags of the target.
pub(super) const OPTIMIZATION: &str = "BR2_TARGET_OPTIMIZATION";

/// Settings that composing needs: capabilities in the device table, and nothing in the programs that differs between
/// builds.
const HANDOFF: &str = "\
# capabilities of programs, and no time or path of the build in them
BR2_ROOTFS_DEVICE_TABLE_SUPPORTS_EXTENDED_ATTRIBUTES=y
BR2_REPRODUCIBLE=y
";

/// The values that follow from layers and workspace.
#[derive(Debug)]
pub(super) struct Closing {
    /// Symbols and the paths that are their values.
    pub lists: Vec<(&'static str, Vec<PathBuf>)>,
    /// Flags of the layers, if there are any.
    pub cflags: Option<String>,
    /// True if Buildroot makes its own images.
    pub keep_images: bool,
}

impl Closing {
    /// Paths of a symbol as one value; empty if it has none.
    pub fn list(&self, symbol: &str) -> String {
        let list = self.lists.iter().find(|(name, _)| *name == symbol);
        list.map(|(_, paths)| listed(paths)).unwrap_or_default()
    }

    /// The settings for a request.
    pub fn text(&self, request: &Merged) -> String {
        let mut text = String::new();
        for (symbol, paths) in &self.lists {
            text += &format!("{symbol}={}\n", quoted(&listed(paths)));
        }
        if let Some(cflags) = &self.cflags {
            text += &format!("{OPTIMIZATION}={}\n", quoted(cflags));
        }
        text += HANDOFF;
        if !self.keep_images {
            text += "# composed from target/ instead\n";
            images(request).for_each(|symbol| text += &format!("# {symbol} is not set\n"));
        }
        text
    }
}

/// As Buildroot's lists are: with spaces between.
fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Images that a request turns on, and the one that is on unless it is turned off.
fn images(request: &Merged) -> impl Iterator<Item = &str> {
    let asked = request.settings().filter(|setting| {
        setting.symbol.starts_with(IMAGES) && setting.symbol != TAR && setting.winner.value.as_str() == "y"
    });
    [TAR].into_iter().chain(asked.map(|setting| setting.symbol.as_str()))
}

/// Sentences about settings of layers that configure replaces. Base layers are SkiffOS' own and set what configure
/// sets.
pub(super) fn replaced(request: &Merged) -> Vec<String> {
    let mut replaced = Vec::new();
    for setting in request.settings().filter(|setting| setting.winner.layer == WHO) {
        let last = setting.overridden.iter().rfind(|assignment| is_of_layer(assignment));
        let Some(last) = last.filter(|last| last.value != setting.winner.value) else { continue };
        if setting.symbol.starts_with(IMAGES) {
            continue;
        }
        let (symbol, value, place) = (&setting.symbol, &last.value, last.place());
        replaced.push(format!("`{symbol}={value}` ({place}) has no effect: {}", instead(symbol)));
    }
    replaced
}

fn is_of_layer(assignment: &Assignment) -> bool {
    assignment.layer != WHO && !assignment.layer.starts_with("configs-base/")
}

fn instead(symbol: &str) -> &'static str {
    match symbol {
        "BR2_GLOBAL_PATCH_DIR" => "put patches into `buildroot_patches/` of the layer",
        "BR2_LINUX_KERNEL_PATCH" => "put patches into `kernel_patches/` of the layer",
        "BR2_TARGET_UBOOT_PATCH" => "put patches into `uboot_patches/` of the layer",
        "BR2_ROOTFS_OVERLAY" => "put files into `root_overlay/` of the layer",
        "BR2_ROOTFS_POST_BUILD_SCRIPT" => "name the script `hooks/pre.sh` of the layer",
        "BR2_ROOTFS_POST_IMAGE_SCRIPT" => "name the script `hooks/post.sh` of the layer",
        "BR2_ROOTFS_USERS_TABLES" => "put tables into `users/` of the layer",
        OPTIMIZATION => "add the flags to `cflags/` of the layer, as other layers do",
        "BR2_CCACHE_DIR" => "set the variable of this name",
        _ if symbol.ends_with("_FRAGMENT_FILES") => {
            "put fragments into `kernel/`, `uboot/` or `busybox/` of the layer"
        }
        _ => "composing needs it otherwise",
    }
}

/// Names of the images of Buildroot that layers ask for and that are left out.
pub(super) fn left_out(request: &Merged) -> Vec<String> {
    let asked = request.settings().filter(|setting| {
        let by_layer = setting.overridden.last().is_some_and(|last| last.value.as_str() == "y");
        setting.symbol.starts_with(IMAGES) && setting.winner.layer == WHO && by_layer
    });
    asked.map(|setting| setting.symbol[IMAGES.len()..].to_lowercase().replace('_', " ")).collect()
}
