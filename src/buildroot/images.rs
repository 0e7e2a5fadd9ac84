//! Files of the images directory: which ones Buildroot makes with a configuration, and which ones another configuration
//! left there. Buildroot never removes what an earlier one made, and a stale kernel beside the right one has the better
//! name often enough.
//!
//! Only what `.config` itself decides is judged; hooks and packages put other files there.

use super::config::Config;

/// Files by the symbol without which Buildroot does not make them, and the symbol that says whether it makes any
/// of their kind (`linux/Config.in`, `boot/uboot/uboot.mk`, `boot/grub2/grub2.mk`, `package/rpi-firmware/rpi-firmware.mk`).
const MADE_BY: [(&str, &str, &str); 34] = [
    ("Image", "BR2_LINUX_KERNEL_IMAGE", KERNEL),
    ("Image.gz", "BR2_LINUX_KERNEL_IMAGEGZ", KERNEL),
    ("bzImage", "BR2_LINUX_KERNEL_BZIMAGE", KERNEL),
    ("uImage", "BR2_LINUX_KERNEL_UIMAGE", KERNEL),
    ("zImage", "BR2_LINUX_KERNEL_ZIMAGE", KERNEL),
    ("u-boot.bin", "BR2_TARGET_UBOOT_FORMAT_BIN", U_BOOT),
    ("u-boot-dtb.bin", "BR2_TARGET_UBOOT_FORMAT_DTB_BIN", U_BOOT),
    ("u-boot.img", "BR2_TARGET_UBOOT_FORMAT_IMG", U_BOOT),
    ("u-boot-dtb.img", "BR2_TARGET_UBOOT_FORMAT_DTB_IMG", U_BOOT),
    ("u-boot.imx", "BR2_TARGET_UBOOT_FORMAT_IMX", U_BOOT),
    ("u-boot-dtb.imx", "BR2_TARGET_UBOOT_FORMAT_DTB_IMX", U_BOOT),
    ("u-boot.itb", "BR2_TARGET_UBOOT_FORMAT_ITB", U_BOOT),
    ("efi-part/EFI/BOOT/bootx64.efi", "BR2_TARGET_GRUB2_X86_64_EFI", GRUB),
    ("efi-part/EFI/BOOT/bootaa64.efi", "BR2_TARGET_GRUB2_ARM64_EFI", GRUB),
    ("efi-part/EFI/BOOT/bootarm.efi", "BR2_TARGET_GRUB2_ARM_EFI", GRUB),
    ("efi-part/EFI/BOOT/bootriscv64.efi", "BR2_TARGET_GRUB2_RISCV64_EFI", GRUB),
    ("rpi-firmware", PI, PI),
    ("rpi-firmware/bootcode.bin", "BR2_PACKAGE_RPI_FIRMWARE_BOOTCODE_BIN", PI),
    ("rpi-firmware/start.elf", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI", PI),
    ("rpi-firmware/fixup.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI", PI),
    ("rpi-firmware/start_x.elf", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI_X", PI),
    ("rpi-firmware/fixup_x.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI_X", PI),
    ("rpi-firmware/start_cd.elf", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI_CD", PI),
    ("rpi-firmware/fixup_cd.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI_CD", PI),
    ("rpi-firmware/start_db.elf", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI_DB", PI),
    ("rpi-firmware/fixup_db.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI_DB", PI),
    ("rpi-firmware/start4.elf", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4", PI),
    ("rpi-firmware/fixup4.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4", PI),
    ("rpi-firmware/start4x.elf", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4_X", PI),
    ("rpi-firmware/fixup4x.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4_X", PI),
    ("rpi-firmware/start4cd.elf", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4_CD", PI),
    ("rpi-firmware/fixup4cd.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4_CD", PI),
    ("rpi-firmware/start4db.elf", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4_DB", PI),
    ("rpi-firmware/fixup4db.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4_DB", PI),
];
const KERNEL: &str = "BR2_LINUX_KERNEL";
const U_BOOT: &str = "BR2_TARGET_UBOOT";
const GRUB: &str = "BR2_TARGET_GRUB2";
const PI: &str = "BR2_PACKAGE_RPI_FIRMWARE";

/// Symbols that name the device trees a kernel is built with.
const TREES: [&str; 2] = ["BR2_LINUX_KERNEL_INTREE_DTS_NAME", "BR2_LINUX_KERNEL_CUSTOM_DTS_PATH"];
/// Symbols that name files of U-Boot.
const LOADERS: [&str; 2] = ["BR2_TARGET_UBOOT_FORMAT_CUSTOM_NAME", "BR2_TARGET_UBOOT_SPL_NAME"];

/// Returns whether Buildroot's own kernel, boot loaders and firmware make `file`, a path below the images directory with
/// perhaps a `*` in it; nothing if the configuration does not say.
pub fn makes(config: &Config, file: &str) -> Option<bool> {
    if let Some(pattern) = file.strip_suffix(".dtb").filter(|name| !name.contains('/')) {
        return makes_device_tree(config, pattern);
    }
    let named = || LOADERS.iter().any(|symbol| listed(config, symbol).any(|name| name == file));
    let (_, symbol, kind) = MADE_BY.iter().find(|(name, ..)| *name == file).or_else(|| {
        // What U-Boot calls as the layer says.
        named().then_some(&("", U_BOOT, U_BOOT))
    })?;
    config.is_set(kind).then(|| config.is_set(symbol) || named())
}

/// Reason why `file`, a path below the images directory, was not made by this configuration; nothing if it was, or if
/// the configuration does not say.
pub fn stale_artifact(config: &Config, file: &str) -> Option<String> {
    if makes(config, file) != Some(false) {
        return None;
    }
    let symbol = MADE_BY.iter().find(|(name, ..)| *name == file).map(|(_, symbol, _)| *symbol);
    Some(match symbol {
        Some(symbol) => format!("{symbol} is not set"),
        None => format!("{} does not name it", TREES[0]),
    })
}

/// Base names of the files of a list.
fn listed<'c>(config: &'c Config, symbol: &str) -> impl Iterator<Item = &'c str> {
    let names = config.get(symbol).unwrap_or_default().split_ascii_whitespace();
    names.map(|name| name.rsplit('/').next().unwrap_or(name))
}

/// A device tree is made if its source is in one of the lists. Directories of sources and expressions of make are not
/// looked into.
fn makes_device_tree(config: &Config, pattern: &str) -> Option<bool> {
    let from_elsewhere = ["BR2_LINUX_KERNEL_CUSTOM_DTS_DIR", "BR2_LINUX_KERNEL_DTB_OVERLAY_SUPPORT"];
    let fits = |name: &str| match pattern.split_once('*') {
        None => name == pattern,
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
    };
    let mut sources = TREES.iter().flat_map(|symbol| listed(config, symbol));
    if sources.any(|source| fits(source.trim_end_matches(".dts"))) {
        return Some(true);
    }
    let is_elsewhere = |symbol: &&str| config.get(symbol).is_some_and(|value| !value.is_empty());
    let has_expression = |symbol: &&str| config.get(symbol).is_some_and(|list| list.contains("$("));
    let unknown = from_elsewhere.iter().any(is_elsewhere) || TREES.iter().any(has_expression);
    (config.is_set("BR2_LINUX_KERNEL_DTS_SUPPORT") && !unknown).then_some(false)
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
        assert_eq!(
            (makes(&config, "bcm2711-rpi-*.dtb"), makes(&config, "bcm2712*.dtb")),
            (Some(true), Some(false))
        );
        let dir = Config::parse(&format!("{text}BR2_LINUX_KERNEL_CUSTOM_DTS_DIR=\"dts\"\n"));
        assert_eq!(stale_artifact(&dir, "bcm2712-rpi-5-b.dtb"), None);
        assert_eq!(stale_artifact(&Config::default(), "zImage"), None);
    }

    #[test]
    fn what_u_boot_is_called_is_taken_from_the_configuration() {
        let text = "BR2_TARGET_UBOOT=y\nBR2_TARGET_UBOOT_FORMAT_CUSTOM_NAME=\"u-boot.itb a/b.bin\"\n\
            BR2_TARGET_UBOOT_SPL_NAME=\"spl/sunxi-spl.bin\"\nBR2_TARGET_UBOOT_FORMAT_IMX=y\n";
        let config = Config::parse(text);
        let all = ["u-boot.itb", "b.bin", "sunxi-spl.bin", "u-boot.imx", "u-boot-dtb.imx", "other.bin"];
        let made = all.map(|file| makes(&config, file));
        assert_eq!(made, [Some(true), Some(true), Some(true), Some(true), Some(false), None]);
    }
}
