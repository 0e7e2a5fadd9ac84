//! `ota keys`: roots, thresholds and rotations, with keys in files and in an agent.

use std::process::Command;

use super::{Workshop, fingerprint};
use crate::harness::project::succeed;
use crate::harness::tools::oracle;

#[test]
fn a_list_of_keys_is_made_and_shown() {
    let Some(workshop) = Workshop::new("a_list_of_keys_is_made_and_shown") else { return };
    workshop.key("one");
    workshop.key("two");
    let (one, two) = (fingerprint(&workshop.path("one.pub")), fingerprint(&workshop.path("two.pub")));
    let made = workshop.done(&["keys", "new", "one.pub", "two.pub", "-o", "root", "--threshold", "2"]);
    let expected = format!(
        "root: root 1, 2 of 2 sign a system, 1 of 2 the next root\n  {one}  ssh-ed25519\n  {two}  ssh-ed25519\n"
    );
    assert_eq!(made, expected);
    assert_eq!(workshop.done(&["keys", "show", "root"]), expected);
    let shown = workshop.document(&["keys", "show", "root"]);
    assert_eq!((&shown["epoch"], &shown["signatures"]), (&1.into(), &2.into()));
    assert_eq!(shown["keys"][1]["fingerprint"], two);
    let text = String::from_utf8(workshop.read("root")).expect("text");
    assert!(text.starts_with("skiff-update root 1\nepoch 1\nstatements 2\nrotations 1\nkey ssh-ed25519 "));

    let exists = workshop.refused(&["keys", "new", "one.pub", "-o", "root"]);
    let told =
        "refused: `root` exists already\nhint: choose another name, or replace the file with `--force`\n";
    assert_eq!(exists, (told.into(), 4));
    workshop.done(&["keys", "new", "one.pub", "-o", "root", "--force"]);
    let (private, code) = workshop.refused(&["keys", "new", "one", "-o", "other"]);
    assert_eq!(
        (private.as_str(), code),
        ("error: `one`: this is a private key\nhint: give its `.pub` file; keep this one to yourself\n", 1)
    );
    let (twice, _) = workshop.refused(&["keys", "new", "one.pub", "one.pub", "-o", "other"]);
    assert!(
        twice.starts_with("error: no such root can be made: ") && twice.contains("is there twice"),
        "{twice}"
    );
    let (many, _) = workshop.refused(&["keys", "new", "one.pub", "-o", "other", "--threshold", "2"]);
    assert_eq!(
        many,
        "error: no such root can be made: root 1 cannot be used: `statements` is 2, and it has 1 keys\n\
         hint: make another root\n"
    );
}

/// Two of three sign the next list, one of them on another machine; a device that missed two lists follows.
#[test]
fn lists_follow_one_another() {
    let Some(workshop) = Workshop::new("lists_follow_one_another") else { return };
    ["one", "two", "three", "four"].iter().for_each(|name| workshop.key(name));
    let all = ["one.pub", "two.pub", "three.pub"];
    let words = [&["keys", "new"], &all[..], &["-o", "root1", "--rotation-threshold", "2"]].concat();
    workshop.done(&words);
    let rotate = ["keys", "rotate", "root1", "--add", "four.pub", "--remove", "one.pub", "-o", "root2"];
    let with = |more: &[&'static str]| [&rotate[..], more].concat();

    let (unsigned, code) = workshop.refused(&with(&["--key", "two"]));
    assert_eq!(
        (unsigned.as_str(), code),
        (
            "refused: root 2 has 1 of the 2 signatures that root 1 wants\nhint: let more holders of keys sign\n",
            4
        )
    );
    let (said, code) = workshop.refused(&with(&["--unsigned", "text"]));
    let how = "text: sign it with `ssh-keygen -Y sign -n skiff-update-root -f KEY text`\n";
    assert_eq!((said.as_str(), code), (how, 0));
    let mut sign = Command::new("ssh-keygen");
    sign.current_dir(workshop.path("")).args("-q -Y sign -n skiff-update-root -f two text".split(' '));
    assert!(sign.status().expect("it starts").success());
    let made = workshop.done(&with(&["--key", "three", "--signature", "text.sig"]));
    let words = "keys rotate root1 --add four.pub --remove one.pub -o text --key three --signature text.sig";
    let (exists, code) = workshop.refused(&words.split(' ').collect::<Vec<_>>());
    assert!(exists.starts_with("refused: `text` exists already\n") && code == 4, "{exists}");
    assert!(!workshop.path("text.signed").exists(), "a list beside a file that it does not belong to");
    let revoked = fingerprint(&workshop.path("one.pub"));
    assert!(made.starts_with("root2: root 2, 1 of 3 sign a system, 2 of 3 the next root\n"), "{made}");
    assert!(made.ends_with(&format!("\n  {revoked}  revoked\n")), "{made}");

    let to_third = ["keys", "rotate", "root2", "--remove"];
    let second = fingerprint(&workshop.path("two.pub"));
    let words = [&to_third[..], &[&second, "-o", "root3", "--key", "three", "--key", "four"]].concat();
    workshop.done(&words);
    workshop.write("kernel", "kernel");
    workshop.write("image", "image");
    let bundle = "bundle --trust root3 --board b --arch arm --loader l --release 1 --sequence 1 --file kernel=kernel -o new \
                  --key";
    let bundle = |key| bundle.split(' ').chain([key]).collect::<Vec<_>>();
    let (old_key, code) = workshop.refused(&bundle("two"));
    assert!(
        old_key.starts_with(&format!(
            "refused: the statement is signed by {second}, which root 3 has revoked\n"
        ))
    );
    assert_eq!(code, 4);
    workshop.done(&bundle("three"));
    let checked = workshop.done(&["check", "new", "--trust", "root1"]);
    assert!(checked.contains(" for root 3"), "{checked}");

    std::fs::remove_file(workshop.path("root3.signed")).expect("it is there");
    workshop.done(&bundle("three"));
    let (skipped, _) = workshop.refused(&["check", "new", "--trust", "root1"]);
    assert!(
        skipped.contains("is not a key of root 1") || skipped.contains("was made for root 3"),
        "{skipped}"
    );
    std::fs::copy(workshop.path("root2.signed"), workshop.path("root3.signed")).expect("it can be copied");
    let (other, _) = workshop.refused(&["keys", "show", "root3"]);
    assert_eq!(
        other,
        "error: `root3.signed` does not end with the root in `root3`\nhint: keep the two files of a root together, as they \
         were made\n"
    );
}

#[test]
fn a_key_can_be_in_an_agent_only() {
    let test = "a_key_can_be_in_an_agent_only";
    let Some(workshop) = Workshop::new(test).filter(|_| oracle(test, "ssh-agent")) else { return };
    let workshop = workshop.with_root();
    workshop.write("kernel", "kernel");
    workshop.write("image", "image");
    let mut words = workshop.bundle_words("1", "out");
    *words.iter_mut().find(|word| **word == "key").expect("it is there") = "key.pub";
    let ota = workshop.ota(&words);
    let mut agent = Command::new("ssh-agent");
    agent.current_dir(workshop.path("")).args(["sh", "-c", "ssh-add -q key && rm key && exec \"$@\"", "sh"]);
    agent.arg(ota.get_program()).args(ota.get_args());
    let (made, _) = succeed(&mut agent);
    assert!(made.starts_with("out: bundle, "), "{made}");
    let (gone, code) = workshop.refused(&words);
    assert!(gone.contains("error: ssh-keygen has not signed with `key.pub`: exit status: 255\n"), "{gone}");
    assert_eq!(code, 1);
}
