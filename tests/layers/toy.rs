//! The pretend Buildroot does what tests rely on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::tools;
use crate::harness::toy_buildroot;

fn make(tree: &Path, output: &Path, arguments: &[&str]) -> (String, bool) {
    let mut make = Command::new("make");
    make.arg("-C").arg(tree).arg(format!("O={}", output.display())).args(arguments);
    let done = make.output().expect("make can be started");
    let text = [done.stdout, done.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), done.status.success())
}

#[test]
fn it_configures_builds_and_remembers() {
    if !tools::oracle("it_configures_builds_and_remembers", toy_buildroot::KCONFIG) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let (tree, output) = (at("buildroot"), at("output"));
    toy_buildroot::make(&tree);
    let external = at("external");
    fs::create_dir(&external).expect("made");
    fs::write(external.join("external.desc"), "name: TEST\n").expect("written");
    fs::write(external.join("external.mk"), "").expect("written");
    let below = "source \"$BR2_EXTERNAL_TEST_PATH/own.in\"\n";
    fs::write(external.join("Config.in"), below).expect("written");
    fs::write(external.join("own.in"), "config BR2_PACKAGE_OWN\n\tbool \"own\"\n").expect("written");
    let overlay = at("overlay");
    fs::create_dir(&overlay).expect("made");
    fs::write(overlay.join("motd"), "hi\n").expect("written");
    let wanted = format!(
        "BR2_aarch64=y\nBR2_PACKAGE_HELLO=y\nBR2_PACKAGE_HELLO_COLORS=y\nBR2_PACKAGE_OWN=y\n\
         BR2_ROOTFS_OVERLAY=\"{}\"\nBR2_LINUX_KERNEL=y\n",
        overlay.display()
    );
    fs::write(at("wanted"), wanted).expect("written");
    let defconfig = format!("BR2_DEFCONFIG={}", at("wanted").display());
    let with = format!("BR2_EXTERNAL={}", external.display());
    let (told, done) = make(&tree, &output, &["defconfig", &defconfig, &with]);
    assert!(done, "{told}");
    let config = fs::read_to_string(output.join(".config")).expect("a configuration");
    for line in ["BR2_ARCH=\"aarch64\"", "BR2_PACKAGE_HELLO=y", "BR2_PACKAGE_OWN=y", "BR2_PACKAGE_BUSYBOX=y"]
    {
        assert!(config.lines().any(|found| found == line), "{line}: {config}");
    }
    assert!(!config.contains("BR2_PACKAGE_HELLO_COLORS=y"), "its dependency is not there");
    let (told, done) = make(&tree, &output, &["all", "rootfs-common"]);
    assert!(done, "{told}");
    assert!(told.contains(">>> hello 2.12 build"), "{told}");
    for file in
        ["target/motd", "target/usr/bin/hello", "images/Image", "build/buildroot-fs/full_users_table.txt"]
    {
        assert!(output.join(file).is_file(), "{file}: {told}");
    }
    let log = fs::read_to_string(output.join("build/build-time.log")).expect("a log");
    assert!(log.lines().count() >= 24, "{log}");
    let (told, done) = make(&tree, &output, &["all"]);
    assert!(done && !told.contains(">>> hello"), "nothing is built twice: {told}");
}
