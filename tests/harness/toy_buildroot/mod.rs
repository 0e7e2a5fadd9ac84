//! A directory that behaves as Buildroot does where we talk to it: out of tree, with a real Kconfig (`kconfig-conf` of
//! Debian's kconfig-frontends-nox), external trees, stamps, a log of build times, overlays, scripts and tables. What it
//! builds are files with a line of text.

use std::fs;
use std::path::Path;

/// What its Kconfig is read by.
pub const KCONFIG: &str = "kconfig-conf";

/// What each package does, by its name; `$1` is the step (extract, configure, build, install).
const PACKAGES: [(&str, &str); 6] = [
    (
        "busybox",
        "case $1 in install) mkdir -p \"$TARGET_DIR/bin\"; echo busybox >\"$TARGET_DIR/bin/busybox\";; esac\n",
    ),
    (
        "glibc",
        "case $1 in install) mkdir -p \"$TARGET_DIR/usr/lib\"; echo glibc >\"$TARGET_DIR/usr/lib/libc.so.6\";; esac\n",
    ),
    ("hello", "echo \"hello at $1\"\ncase $1 in install) echo hello >\"$TARGET_DIR/usr/bin/hello\";; esac\n"),
    // Until it is ended, when asked for.
    (
        "slow",
        "case $1 in build) if [ -n \"${TOY_SLOW:-}\" ]; then echo begun; sleep \"$TOY_SLOW\"; fi;; esac\n",
    ),
    (
        "broken",
        "case $1 in build) if [ -z \"${TOY_FIXED:-}\" ]; then \
         i=1; while [ $i -le 40 ]; do echo \"compiling broken $i\"; i=$((i+1)); done; \
         echo \"broken.c:7:1: error: it is \\\"broken\\\"\" >&2; exit 1; fi;; esac\n",
    ),
    (
        "linux",
        "case $1 in configure) cat ${TOY_LINUX_FRAGMENT:-/dev/null} >\"$BUILD_DIR/linux-6.12/.config\";; \
         install) echo kernel >\"$BINARIES_DIR/Image\"; mkdir -p \"$TARGET_DIR/usr/lib/modules/6.12\"; \
         echo toy >\"$TARGET_DIR/usr/lib/modules/6.12/modules.dep\";; esac\n",
    ),
];

/// Makes one in `directory`, which is made if it is not there.
pub fn make(directory: &Path) {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory can be made");
        fs::write(path, text).expect("a file can be written");
    };
    write("Makefile", include_str!("top.mk"));
    write("Config.in", include_str!("config.in"));
    write("system/device_table.txt", "/dev d 755 0 0 - - - - -\n/etc/shadow f 600 0 0 - - - - -\n");
    for (package, script) in PACKAGES {
        write(&format!("package/{package}.sh"), script);
    }
}
