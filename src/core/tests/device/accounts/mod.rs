//! Accounts of users, in a directory that stands for `/`.

mod interrupted;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use skiff_core::accounts::{Places, Report, apply};
use skiff_core::config::Config;

use crate::privilege::root;

/// A system with the accounts that images have; the last line of `passwd` has no end.
pub fn system() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nsshd:x:33:33::/run:/bin/false\n# kept\nolder:x:1500:100:An Older:/home/older:/bin/ash",
    );
    write("etc/shadow", "root:*:19000:0:99999:7:::\nolder:$6$abc$def:19000:0:99999:7:::");
    write("etc/group", "root:x:0:\nusers:x:100:\nkept:x:2000:\n");
    write("etc/shells", "/bin/sh\n");
    write("root/.ssh/authorized_keys", &key("root"));
    write("etc/skiff/authorized_keys/image.pub", &key("image"));
    write("etc/skiff/authorized_keys/README", "no key");
    write("mnt/persist/skiff/keys/persist.pub", &format!("# a comment\n{}", key("persist")));
    fs::set_permissions(directory.path().join("etc/shadow"), fs::Permissions::from_mode(0o640))
        .expect("a mode");
    directory
}

/// A line with a public key.
fn key(comment: &str) -> String {
    format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0m5mcjLZ0gk7kqM8B8nNqZ9d7q4kS1r1kVQ2X3Y4Z5 {comment}\n")
}

fn run(users: &str, root: &Path) -> Report {
    let text = format!("containers: {{box: {{image: 'a:1'}}}}\nusers:\n{users}");
    let (config, _) =
        Config::parse(&text, Path::new("config.yaml")).unwrap_or_else(|broken| panic!("{broken}"));
    apply(&config, &Places::below(root)).unwrap_or_else(|failure| panic!("{failure}"))
}

fn text(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Type and permissions, user and group.
fn stat(root: &Path, path: &str) -> (u32, u32, u32) {
    let stat = fs::symlink_metadata(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    (stat.mode() & 0o7777, stat.uid(), stat.gid())
}

const USERS: &str = "  core: {container: box, auth: {copyRootKeys: yes, sshKeys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0m5mcjLZ0gk7kqM8B8nNqZ9d7q4kS1r1kVQ2X3Y4Z5 own']}}
  admin: {host: yes, auth: {password: secret}}
  older: {container: box, auth: {password: '$6$saltsalt$012345678901234567890123456789'}}
";

#[test]
fn accounts_are_made_kept_and_taken_back() {
    if !root("accounts_are_made_kept_and_taken_back") {
        return;
    }
    let system = system();
    let root = system.path();
    let before = ["etc/passwd", "etc/shadow", "etc/group"].map(|path| text(root, path));
    let report = run(USERS, root);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.changed, ["core", "admin", "older"]);
    // 2000 is the number of a group of the image.
    assert_eq!(report.uids, [("core".into(), 2001), ("admin".into(), 2002), ("older".into(), 1500)]);
    assert_eq!(
        text(root, "etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nsshd:x:33:33::/run:/bin/false\n# kept\n\
         older:x:1500:100:An Older:/home/older:/usr/bin/skiff-shell\n\
         core:x:2001:2001:Skiff Core:/home/core:/usr/bin/skiff-shell\n\
         admin:x:2002:2002:Skiff Core:/home/admin:/bin/sh\n"
    );
    assert_eq!(text(root, "etc/group"), format!("{}core:x:2001:\nadmin:x:2002:\n", before[2]));
    assert_eq!(text(root, "etc/shells"), "/bin/sh\n/usr/bin/skiff-shell\n");
    let shadow = text(root, "etc/shadow");
    let lines: Vec<_> = shadow.lines().collect();
    assert_eq!(lines[1], "older:$6$saltsalt$012345678901234567890123456789:19000:0:99999:7:::");
    assert_eq!(lines[2], "core:*::0:99999:7:::");
    let hash = lines[3].split(':').nth(1).expect("a field");
    let salt = hash
        .split('$')
        .nth(2)
        .filter(|part| !part.starts_with("rounds"))
        .unwrap_or_else(|| hash.split('$').nth(3).expect("a salt"));
    let openssl = Command::new("openssl")
        .args(["passwd", "-6", "-salt", salt, "secret"])
        .output()
        .expect("openssl starts");
    let expected = String::from_utf8(openssl.stdout).expect("text");
    assert_eq!(hash.replacen("rounds=5000$", "", 1), expected.trim());
    assert_eq!(stat(root, "etc/shadow").0, 0o640);
    assert_eq!(stat(root, "home/core"), (0o700, 2001, 2001));
    assert_eq!(stat(root, "home/core/.ssh"), (0o700, 2001, 2001));
    assert_eq!(stat(root, "home/core/.ssh/authorized_keys"), (0o600, 2001, 2001));
    let keys = ["root", "image", "persist", "own"].map(key).concat();
    assert_eq!(text(root, "home/core/.ssh/authorized_keys"), keys);

    // A second run changes nothing, not even the hash of a clear password.
    let again = run(USERS, root);
    assert_eq!((again.changed, again.removed), (vec![], vec![]));
    assert_eq!(text(root, "etc/shadow"), shadow);

    // Numbers stay when another user comes, and when `/etc` begins anew.
    for (path, text) in ["etc/passwd", "etc/shadow", "etc/group"].iter().zip(&before) {
        fs::write(root.join(path), text).expect("a file");
    }
    fs::remove_file(root.join("etc/skiff-core.accounts")).expect("it is there");
    let report = run(&format!("  aaa: {{host: yes}}\n{USERS}"), root);
    assert_eq!(report.uids[0], ("aaa".into(), 2003));
    assert_eq!(report.uids[1], ("core".into(), 2001));
    assert_eq!(report.unreachable, ["aaa"]);

    // Without users everything is as it was, only with an end of the last line.
    let report = run("", root);
    assert_eq!(report.removed, ["aaa", "admin", "core", "older"]);
    assert_eq!(text(root, "etc/passwd"), format!("{}\n", before[0]));
    assert_eq!(text(root, "etc/shadow"), format!("{}\n", before[1]));
    assert_eq!(text(root, "etc/group"), before[2]);
    assert_eq!(run("", root).removed, Vec::<String>::new());
}

#[test]
fn accounts_of_the_system_are_not_taken() {
    if !root("accounts_of_the_system_are_not_taken") {
        return;
    }
    let system = system();
    let report = run("  sshd: {container: box}\n  core: {container: box}\n", system.path());
    let told: Vec<_> = report.failures.iter().map(ToString::to_string).collect();
    let expected = "user `sshd`: there is an account of the system with this name (number 33)\n\
                    hint: give the user another name";
    assert_eq!(told, [expected]);
    assert_eq!(report.changed, ["core"]);
    assert!(text(system.path(), "etc/passwd").contains("sshd:x:33:33::/run:/bin/false\n"));
}

#[test]
fn links_of_users_are_not_followed() {
    if !root("links_of_users_are_not_followed") {
        return;
    }
    let system = system();
    let root = system.path();
    assert!(run(USERS, root).failures.is_empty());
    // The key file is a link to a file of the host, and a name of a new file is taken by one.
    let ssh = root.join("home/core/.ssh");
    fs::remove_file(ssh.join("authorized_keys")).expect("it is there");
    symlink(root.join("etc/shadow"), ssh.join("authorized_keys")).expect("a link");
    symlink(root.join("etc/passwd"), ssh.join(".authorized_keys.skiff-core")).expect("a link");
    let before = ["etc/passwd", "etc/shadow"].map(|path| text(root, path));
    let report = run(USERS, root);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(["etc/passwd", "etc/shadow"].map(|path| text(root, path)), before);
    assert!(ssh.join("authorized_keys").symlink_metadata().expect("it is there").is_file());
    // The directory is a link.
    fs::remove_dir_all(&ssh).expect("it is there");
    symlink(root.join("etc"), &ssh).expect("a link");
    let report = run(USERS, root);
    let told: Vec<_> = report.failures.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("hint: a link is in the place of a directory: remove it"), "{told:?}");
    assert!(!root.join("etc/authorized_keys").exists());
    assert_eq!(stat(root, "etc").1, 0);
    // A home that is a link to a directory of the host.
    fs::remove_dir_all(root.join("home/admin")).expect("it is there");
    symlink(root.join("etc"), root.join("home/admin")).expect("a link");
    let report = run(USERS, root);
    assert!(report.failures.iter().any(|failure| failure.to_string().contains("no directory of this user")));
    assert_eq!(stat(root, "etc").1, 0);
}
