//! Templates of boot text and the checks of each format.

use std::collections::BTreeMap;

use skiff_image::boot::text::{Format, TextError, check, render};
use skiff_image::error::Diagnostic;
use skiff_image::value::Arch;

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn render_error(template: &str) -> TextError {
    render("boot.cmd", template, &values(&[("console", "ttyS0"), ("partuuid", "1234abcd-01")])).unwrap_err()
}

fn check_error(text: &str, format: Format) -> String {
    check("text", text, format).unwrap_err().to_string()
}

#[test]
fn placeholders_are_filled_and_the_rest_stays() {
    let template = "setenv bootargs console=@{console} root=PARTUUID=@{partuuid} ${extra}\n\
                    fdt set /soc@1c00000 x @@{y} @\n@{console}@{console}";
    let values = values(&[("console", "ttyS0,115200"), ("partuuid", "1-2"), ("unused", "x")]);
    assert_eq!(
        render("boot.cmd", template, &values).expect("valid"),
        "setenv bootargs console=ttyS0,115200 root=PARTUUID=1-2 ${extra}\n\
         fdt set /soc@1c00000 x @{y} @\nttyS0,115200ttyS0,115200"
    );
    // A value is never a template itself.
    let nested = BTreeMap::from([("a".to_string(), "@{b} @@".to_string())]);
    assert_eq!(render("t", "@{a}", &nested).expect("valid"), "@{b} @@");
    assert_eq!(render("t", "", &nested).expect("valid"), "");
}

#[test]
fn a_name_without_a_value_is_told_with_its_place_and_the_known_names() {
    let error = render_error("first\nsetenv ö @{root} b\n");
    assert_eq!(error.to_string(), "boot.cmd:2:10: `@{root}` has no value");
    assert_eq!(error.hint().as_deref(), Some("known names: console, partuuid"));
    assert_eq!(render_error("@{}").to_string(), "boot.cmd:1:1: `@{}` has no value");
    let error = render("t", "@{x}", &BTreeMap::new()).unwrap_err();
    assert_eq!(
        error.hint().as_deref(),
        Some("there are no values here; write `@@` for an `@` before a brace")
    );
}

#[test]
fn an_open_placeholder_is_told() {
    let error = render_error("a\nb @{console\n}");
    assert_eq!(error.to_string(), "boot.cmd:2:3: `@{` is not closed in its line");
    assert_eq!(
        error.hint().as_deref(),
        Some("write `@{name}` for a value and `@@` for an `@` before a brace")
    );
}

#[test]
fn no_text_has_carriage_returns_or_zeros() {
    let size = Arch::Arm.command_line_size();
    for format in [
        Format::Script,
        Format::Extlinux,
        Format::PiConfig,
        Format::CommandLine { size },
        Format::LoaderEntry,
    ] {
        assert_eq!(
            check_error("a\nb\r\n", format),
            "text:2: the line ends as on Windows, with a carriage return"
        );
        assert_eq!(check_error("a\0", format), "text:1: the line has a zero byte");
    }
    check("boot.cmd", "setenv\tx größe\nboot", Format::Script).expect("valid");
}

#[test]
fn a_command_line_is_one_line_the_kernel_keeps_whole() {
    let format = Format::CommandLine { size: Arch::Arm.command_line_size() };
    check("cmdline.txt", "console=tty1 root=/dev/ram0\n", format).expect("valid");
    check("cmdline.txt", &"x".repeat(1023), format).expect("valid");
    assert_eq!(
        check_error(&"x".repeat(1024), format),
        "text: the kernel command line has 1024 bytes, and the kernel keeps 1023"
    );
    assert_eq!(check_error("a\nb\n", format), "text: a kernel command line is one line, and here are 2");
    assert_eq!(check_error("a\n\n", format), "text: a kernel command line is one line, and here are 2");
    assert_eq!(check_error(" \n", format), "text: the kernel command line is empty");
    let format = Format::CommandLine { size: Arch::Arm64.command_line_size() };
    check("cmdline.txt", &"x".repeat(2047), format).expect("valid");
}

#[test]
fn config_txt_has_lines_the_firmware_reads() {
    let long = "x".repeat(98);
    let fine = format!("# comments may be {long}\tas they like\n[pi4]\n\nkernel=Image\n{long}\n");
    check("config.txt", &fine, Format::PiConfig).expect("valid");
    assert_eq!(
        check_error(&format!("a=1\n{long}y"), Format::PiConfig),
        "text:2: the line has 99 characters, and the firmware ignores what follows the 98th"
    );
    assert_eq!(
        check_error("kernel=a\t", Format::PiConfig),
        "text:1: the line has a tab, which the firmware takes as part of a name or value"
    );
    for line in ["gpu_mem = 16", "gpu_mem =16", "gpu_mem= 16"] {
        assert_eq!(
            check_error(line, Format::PiConfig),
            "text:1: the line has a space beside `=`, and the firmware ignores such a line"
        );
    }
    check("config.txt", "initramfs rootfs.cpio.lz4 followkernel", Format::PiConfig).expect("valid");
}

#[test]
fn extlinux_boots_a_label_there_is() {
    let text = "# menu\nDEFAULT skiff\n\nlabel skiff\n  kernel /Image\nlabel other\n  linux /Image.old\n";
    check("extlinux.conf", text, Format::Extlinux).expect("valid");
    check("extlinux.conf", "label a\n linux /Image\n", Format::Extlinux).expect("valid");
    assert_eq!(
        check_error(&text.replace("DEFAULT skiff", "default skif"), Format::Extlinux),
        "text: the default is `skif`, and the labels are `skiff`, `other`"
    );
    assert_eq!(check_error("default a\n# label a\n", Format::Extlinux), "text: there is no `label` to boot");
}

#[test]
fn a_loader_entry_names_something_to_boot() {
    check("skiff.conf", "title SkiffOS\nlinux /bzImage\noptions quiet\n", Format::LoaderEntry)
        .expect("valid");
    for text in ["title SkiffOS\n", "title SkiffOS\nlinux\n"] {
        assert_eq!(check_error(text, Format::LoaderEntry), "text: there is no `linux` or `efi` line to boot");
    }
}
