//! Files of the images directory that another configuration left there: Buildroot never removes what an earlier
//! one made, and a stale kernel beside the right one has the better name often enough.
//!
//! Only what `.config` itself decides is judged; hooks and packages put other files there.

use super::config::Config;

/// Files by the symbol without which Buildroot does not make them, and the symbol that says whether it makes any
/// of their kind (`linux/Config.in`, `boot/uboot/Config.in`).
const MADE_BY: [(&str, &str, &str); 10] = [
    ("Image", "BR2_LINUX_KERNEL_IMAGE", "BR2_LINUX_KERNEL"),
    ("Image.gz", "BR2_LINUX_KERNEL_IMAGEGZ", "BR2_LINUX_KERNEL"),
    ("bzImage", "BR2_LINUX_KERNEL_BZIMAGE", "BR2_LINUX_KERNEL"),
    ("uImage", "BR2_LINUX_KERNEL_UIMAGE", "BR2_LINUX_KERNEL"),
    ("zImage", "BR2_LINUX_KERNEL_ZIMAGE", "BR2_LINUX_KERNEL"),
    ("u-boot.bin", "BR2_TARGET_UBOOT_FORMAT_BIN", "BR2_TARGET_UBOOT"),
    ("u-boot-dtb.bin", "BR2_TARGET_UBOOT_FORMAT_DTB_BIN", "BR2_TARGET_UBOOT"),
    ("u-boot.img", "BR2_TARGET_UBOOT_FORMAT_IMG", "BR2_TARGET_UBOOT"),
    ("u-boot-dtb.img", "BR2_TARGET_UBOOT_FORMAT_DTB_IMG", "BR2_TARGET_UBOOT"),
    ("u-boot.imx", "BR2_TARGET_UBOOT_FORMAT_DTB_IMX", "BR2_TARGET_UBOOT"),
];

/// Symbols that name the device trees a kernel is built with.
const TREES: [&str; 2] = ["BR2_LINUX_KERNEL_INTREE_DTS_NAME", "BR2_LINUX_KERNEL_CUSTOM_DTS_PATH"];

/// Reason why `file`, a path below the images directory, was not made by this configuration; nothing if it was, or if
/// the configuration does not say.
pub fn stale_artifact(config: &Config, file: &str) -> Option<String> {
    stale_device_tree(config, file).or_else(|| {
        let (_, symbol, kind) = MADE_BY.iter().find(|(name, ..)| *name == file)?;
        let unset = config.is_set(kind) && !config.is_set(symbol);
        unset.then(|| format!("{symbol} is not set"))
    })
}

/// A device tree whose source is in none of the lists. Directories of sources and expressions of make are not
/// looked into.
fn stale_device_tree(config: &Config, file: &str) -> Option<String> {
    let name = file.strip_suffix(".dtb").filter(|name| !name.contains('/'))?;
    let from_elsewhere = ["BR2_LINUX_KERNEL_CUSTOM_DTS_DIR", "BR2_LINUX_KERNEL_DTB_OVERLAY_SUPPORT"];
    let listed = TREES.map(|symbol| config.get(symbol).unwrap_or_default());
    let unknown =
        from_elsewhere.iter().any(|symbol| config.get(symbol).is_some_and(|value| !value.is_empty()))
            || listed.iter().any(|list| list.contains("$("));
    if !config.is_set("BR2_LINUX_KERNEL_DTS_SUPPORT") || unknown {
        return None;
    }
    let mut sources = listed.iter().flat_map(|list| list.split_ascii_whitespace());
    let made =
        sources.any(|source| source.rsplit('/').next().unwrap_or(source).trim_end_matches(".dts") == name);
    (!made).then(|| format!("{} does not name it", TREES[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_configuration_makes_is_not_stale() {
        let text = "BR2_LINUX_KERNEL=y\nBR2_LINUX_KERNEL_IMAGE=y\nBR2_LINUX_KERNEL_DTS_SUPPORT=y\n\
            BR2_LINUX_KERNEL_INTREE_DTS_NAME=\"broadcom/bcm2711-rpi-4-b\"\n";
        let config = Config::parse(text);
        assert_eq!(stale_artifact(&config, "Image"), None);
        assert_eq!(stale_artifact(&config, "zImage").as_deref(), Some("BR2_LINUX_KERNEL_ZIMAGE is not set"));
        assert_eq!(stale_artifact(&config, "bcm2711-rpi-4-b.dtb"), None);
        let reason = "BR2_LINUX_KERNEL_INTREE_DTS_NAME does not name it";
        assert_eq!(stale_artifact(&config, "bcm2712-rpi-5-b.dtb").as_deref(), Some(reason));
        assert_eq!(stale_artifact(&config, "u-boot.bin"), None, "U-Boot may come from a package");
        let dir = Config::parse(&format!("{text}BR2_LINUX_KERNEL_CUSTOM_DTS_DIR=\"dts\"\n"));
        assert_eq!(stale_artifact(&dir, "bcm2712-rpi-5-b.dtb"), None);
        assert_eq!(stale_artifact(&Config::default(), "zImage"), None);
    }
}
