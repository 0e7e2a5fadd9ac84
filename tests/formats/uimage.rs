//! Images for U-Boot against mkimage and dumpimage.

use std::path::Path;

use crate::harness::tools::{command, oracle};
use skiff_image::boot::uimage::{self, UImageOptions};
use skiff_image::fs::compress::Compression;
use skiff_image::tree::Content;
use skiff_image::value::Arch;

const TIME: i64 = 1_709_210_096;

fn options(arch: Arch, name: &str, compression: Compression) -> UImageOptions {
    UImageOptions { arch, name: name.into(), timestamp: TIME, compression }
}

/// What mkimage makes of a file.
fn mkimage(kind: &str, options: &UImageOptions, data: &Path) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("directory");
    let out = dir.path().join("image");
    // mkimage has one name for RISC-V of any width.
    let arch = if options.arch == Arch::Riscv64 { "riscv" } else { options.arch.name() };
    let output = command("mkimage")
        .env("SOURCE_DATE_EPOCH", TIME.to_string())
        .args(["-A", arch, "-O", "linux", "-T", kind, "-C", options.compression.name()])
        .args(["-a", "0", "-e", "0", "-n", &options.name, "-d"])
        .args([data, &out])
        .output()
        .expect("mkimage");
    assert!(output.status.success(), "{output:?}");
    std::fs::read(out).expect("read")
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), bytes).expect("write");
    file
}

#[test]
fn scripts_are_those_of_mkimage() {
    if !oracle("scripts_are_those_of_mkimage", "mkimage") {
        return;
    }
    for arch in Arch::ALL {
        for (name, text) in [("Skiff Odroid", "setenv a b\nboot\n"), ("", "odd"), (&"x".repeat(32), "boot")] {
            let options = options(arch, name, Compression::None);
            let ours = uimage::script(&options, text.as_bytes()).expect("image");
            assert!(ours == mkimage("script", &options, file(text.as_bytes()).path()), "{arch} `{name}`");
        }
    }
}

#[test]
fn ramdisks_are_those_of_mkimage() {
    if !oracle("ramdisks_are_those_of_mkimage", "mkimage") {
        return;
    }
    let mut bytes = vec![0; 3_000_001];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let data = file(&bytes);
    for (arch, compression) in [
        (Arch::Arm, Compression::None),
        (Arch::Arm64, Compression::Lz4(9)),
        (Arch::X86_64, Compression::Gzip(9)),
        (Arch::Riscv64, Compression::Zstd(19)),
    ] {
        let options = options(arch, "skiff-init-squashfs", compression);
        let content = Content::file(data.path(), 0, bytes.len() as u64);
        let mut ours = Vec::new();
        let len = uimage::ramdisk(&options, &content, &mut ours).expect("image");
        assert_eq!(len, ours.len() as u64);
        assert!(ours == mkimage("ramdisk", &options, data.path()), "{arch}");
        let mut back = Vec::new();
        let image = uimage::parse(&mut ours.as_slice(), &mut back).expect("parse");
        assert!(back == bytes);
        assert_eq!((image.kind.as_str(), image.arch.as_str()), ("ramdisk", arch.name()));
        assert_eq!(image.compression, compression.name());
    }
}

#[test]
fn dumpimage_lists_what_was_meant() {
    if !oracle("dumpimage_lists_what_was_meant", "dumpimage") {
        return;
    }
    let options = options(Arch::Riscv64, "SkiffOS", Compression::None);
    let image = file(&uimage::script(&options, b"boot\n").expect("image"));
    let output =
        command("dumpimage").env("TZ", "UTC").arg("-l").arg(image.path()).output().expect("dumpimage");
    let list = String::from_utf8_lossy(&output.stdout);
    for line in [
        "Image Name:   SkiffOS",
        "Created:      Thu Feb 29 12:34:56 2024",
        "Image Type:   RISC-V Linux Script (uncompressed)",
        "Data Size:    13 Bytes",
        "Image 0: 5 Bytes",
    ] {
        assert!(list.contains(line), "{line}: {list}");
    }
}

#[test]
fn data_that_changes_between_checksum_and_copy_is_told() {
    /// Overwrites the file as soon as the header is written.
    struct Meddler(std::path::PathBuf);
    impl std::io::Write for Meddler {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            std::fs::write(&self.0, b"after!")?;
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let data = file(b"before");
    let content = Content::file(data.path(), 0, 6);
    let options = options(Arch::Arm, "", Compression::None);
    let error = uimage::ramdisk(&options, &content, &mut Meddler(data.path().into())).unwrap_err();
    assert_eq!(error.to_string(), "the data changed while its image was written");
}

#[test]
fn inputs_and_outputs_that_fail_are_told() {
    let options = options(Arch::Arm, "", Compression::None);
    let content = Content::bytes(b"data".as_slice());
    let error = uimage::ramdisk(&options, &content, &mut [0; 10].as_mut_slice()).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the image for U-Boot: failed to write whole buffer");
    let dir = std::fs::File::open("/").expect("directory");
    let error = uimage::parse(&mut &dir, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the image for U-Boot: Is a directory (os error 21)");
}
