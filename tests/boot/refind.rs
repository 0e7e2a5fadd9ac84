//! `refind_linux.conf`: what rEFInd puts for `%v`, and what it would not find.

use skiff_image::boot::refind::{check, version};
use skiff_image::error::Diagnostic;

const LINE: &str =
    "\"Boot SkiffOS\" \"root=PARTUUID=1 skiffos.squashfs=/boot/init-skiffos-%v.squashfs initrd= noinitrd\"\n";

/// The message about `text` in `/boot` beside a kernel and a squashfs of these tags.
fn problem(text: &str, kernel: &str, squashfs: &str) -> Option<String> {
    let kernel = format!("/boot/bzImage-skiffos-{kernel}");
    let squashfs = format!("/boot/init-skiffos-{squashfs}.squashfs");
    let error = check("refind_linux.conf", text, "/boot", &[&kernel, &squashfs]).err()?;
    assert_eq!(error.hint().as_deref(), Some("change the template, or the values it is made from"));
    Some(error.to_string())
}

#[test]
fn a_version_is_all_from_the_first_digit_to_the_last() {
    assert_eq!(version("bzImage-skiffos-2026.08.1-1"), "2026.08.1-1");
    assert_eq!(version("bzImage-skiffos-2026.08-8-g9039255886eb-1"), "2026.08-8-g9039255886eb-1");
    assert_eq!(version("bzImage-skiffos-2026.08-8-g90392b"), "2026.08-8-g90392");
    assert_eq!(version("bzImage-skiffos-v2026.08-1"), "2026.08-1");
    assert_eq!(version("vmlinuz5"), "5");
    assert_eq!(version("bzImage"), "");
}

#[test]
fn what_percent_v_names_is_there() {
    assert_eq!(problem(LINE, "2026.08.1-1", "2026.08.1-1"), None);
    assert_eq!(problem(&format!("# a comment\n\n{LINE}{LINE}"), "2026.08.1-1", "2026.08.1-1"), None);
    assert_eq!(
        problem(LINE, "v2026.08-1", "v2026.08-1").as_deref(),
        Some(
            "refind_linux.conf:1: `%v` is `2026.08-1` for `/boot/bzImage-skiffos-v2026.08-1`, and there is no `/boot/init-skiffos-2026.08-1.squashfs`"
        )
    );
    assert_eq!(
        problem(LINE, "2026.08-g90b", "2026.08-g90b").as_deref(),
        Some(
            "refind_linux.conf:1: `%v` is `2026.08-g90` for `/boot/bzImage-skiffos-2026.08-g90b`, and there is no `/boot/init-skiffos-2026.08-g90.squashfs`"
        )
    );
}

#[test]
fn percent_v_is_empty_without_an_init_of_the_same_version() {
    let empty = "refind_linux.conf:1: `%v` is empty for `/boot/bzImage-skiffos-2027.01-1`: no `init*` beside it has the \
                 version `2027.01-1`";
    assert_eq!(problem(LINE, "2027.01-1", "2026.08.1-1").as_deref(), Some(empty));
    let system = LINE.replace("init-skiffos", "system");
    let placed = ["/boot/bzImage-skiffos-2027.01-1", "/boot/system-2027.01-1.squashfs", "/init-2027.01-1"];
    let error = check("refind_linux.conf", &system, "/boot", &placed).unwrap_err();
    assert_eq!(error.to_string(), empty);
}

#[test]
fn lines_that_refind_does_not_read_are_told() {
    let quotes = "a line is a title and kernel options, both in double quotes";
    for line in
        ["Boot quiet", "\"Boot\"", "\"Boot\" quiet", "\"Boot\"\"quiet\"", "\"a\" \"b\" \"c\"", "x\"a\" \"b\""]
    {
        let expected = format!("refind_linux.conf:2: {quotes}");
        assert_eq!(problem(&format!("# first\n{line}\n"), "1", "1"), Some(expected), "{line}");
    }
    assert_eq!(
        problem("# nothing\n", "1", "1").as_deref(),
        Some("refind_linux.conf: there is no line with a title and options")
    );
    let error = check("refind_linux.conf", LINE, "/boot", &["/bzImage", "/boot/Image"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "refind_linux.conf: there is no kernel beside it, `bzImage*` or `vmlinuz*` in `/boot`"
    );
}
