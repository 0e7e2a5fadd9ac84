use skiff_disk::error::Diagnostic as _;

use super::*;

fn statement() -> Statement {
    let files = ["kernel", "rootfs.squashfs"]
        .map(|name| File { name: name.into(), sum: Sum { len: 1000, blake3: Digest::of(name.as_bytes()) } });
    Statement {
        boards: vec!["maker/large".into(), "maker/small".into()],
        arch: Arch::Arm,
        loaders: vec!["uboot-fat".into()],
        version: "2026.11 rc1".into(),
        sequence: 17,
        epoch: 2,
        agent: 1,
        roots: Sum::of(b""),
        index: Sum::of(b"index"),
        files: files.into(),
    }
}

fn machine() -> Machine {
    let files = vec!["rootfs.squashfs".into(), "kernel".into()];
    Machine { board: "maker/small".into(), arch: Arch::Arm, loader: "uboot-fat".into(), files }
}

#[test]
fn statements_round_trip() {
    let text = statement().to_text();
    assert_eq!(Statement::parse(text.as_bytes()), Ok(statement()));
    assert_eq!(statement().len(), 2000);
    assert_eq!(text.lines().nth(4), Some("loader uboot-fat"));
    assert_eq!(system_id(text.as_bytes()), system_id(statement().to_text().as_bytes()));
    assert_ne!(system_id(text.as_bytes()), system_id(b""));
}

/// What is accepted is what would be written: no two texts mean the same.
#[test]
fn a_changed_statement_is_refused_or_another_one() {
    let text = statement().to_text().into_bytes();
    for at in 0..text.len() {
        for byte in [b' ', b'\n', b'0', b'a', b'A', b'~', 0, 0xff] {
            let mut changed = text.clone();
            changed[at] = byte;
            if let Ok(parsed) = Statement::parse(&changed) {
                assert_eq!(parsed.to_text().into_bytes(), changed, "byte {at}");
            }
            changed = text.clone();
            changed.insert(at, byte);
            if let Ok(parsed) = Statement::parse(&changed) {
                assert_eq!(parsed.to_text().into_bytes(), changed, "before byte {at}");
            }
        }
        if let Ok(parsed) = Statement::parse(&text[..at]) {
            assert_eq!(parsed.to_text().into_bytes(), text[..at], "{at} bytes");
        }
    }
}

#[test]
fn wrong_texts_say_what_is_wrong() {
    let text = statement().to_text();
    let message = |from: &str, to: &str| {
        assert!(text.contains(from));
        Statement::parse(text.replace(from, to).as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(
        message("board maker/large", "board ../maker/large"),
        "line 2: `board` is `../maker/large`, not the name of a board"
    );
    assert_eq!(
        message("board maker/small", "board maker/large"),
        "line 3: `board maker/large` is there twice"
    );
    assert_eq!(
        message("board maker/large\nboard maker/small\n", ""),
        "there are 0 lines with `board`, 1 to 64 are possible"
    );
    assert_eq!(message("arch arm", "arch armhf"), "line 4: `arch` is `armhf`, not an architecture");
    assert_eq!(message("sequence 17", "sequence 017"), "line 7: `sequence` is `017`, not a number");
    assert_eq!(message("file kernel", "file Kernel").split(" is ").next(), Some("line 12: `file`"));
    assert_eq!(message("file kernel", "file .kernel").split(" is ").next(), Some("line 12: `file`"));
    assert_eq!(message("file kernel", "file a/kernel").split(" is ").next(), Some("line 12: `file`"));
    assert!(message("file kernel", "file rootfs.squashfs").ends_with(" is there twice"));
    assert!(
        message("file kernel 1000", "file kernel 99999999999")
            .contains("not a name, bytes (up to 32 GiB) and digest")
    );
    assert_eq!(
        message("version 2026.11 rc1", "version 2026.11\u{e9}"),
        "line 6 is not printable ASCII text that ends with a newline"
    );
    assert_eq!(
        message("version 2026.11 rc1", "version 2026.11 "),
        "line 6: `version` is `2026.11 `, not 1 to 64 characters without spaces at the ends"
    );
    let long = format!("{text}{}\n", "x".repeat(LEN_MAX));
    assert_eq!(
        Statement::parse(long.as_bytes()).unwrap_err().to_string(),
        format!("it has {} bytes, 16384 are the most", long.len())
    );
    assert_eq!(
        Statement::parse(format!("{text}more\n").as_bytes()).unwrap_err().to_string(),
        "line 14 is `more`, `` was expected"
    );
}

#[test]
fn systems_for_other_devices_are_refused() {
    assert_eq!(statement().check_machine(&machine()), Ok(()));
    let message = |machine: Machine| {
        let error = statement().check_machine(&machine).unwrap_err();
        format!("{error}; {}", error.hint().expect("a hint"))
    };
    assert_eq!(
        message(Machine { board: "maker/other".into(), ..machine() }),
        "the bundle is for the boards `maker/large`, `maker/small`, this is `maker/other`; make a bundle for `maker/other`"
    );
    assert_eq!(
        message(Machine { arch: Arch::Arm64, ..machine() }),
        "the bundle is for `arm`, this is `arm64`; make a bundle for `arm64`"
    );
    assert_eq!(
        message(Machine { loader: "grub-env".into(), ..machine() }),
        "the bundle is for systems that are started by `uboot-fat`, this one is started by `grub-env`; make a bundle for \
         `grub-env`, or write the medium anew"
    );
    assert_eq!(
        message(Machine { files: vec!["kernel".into()], ..machine() }),
        "the bundle has the files `kernel`, `rootfs.squashfs`, this device starts `kernel`; make the bundle from an image \
         for this board"
    );
    let newer = Statement { agent: 2, ..statement() };
    assert_eq!(
        newer.check_machine(&machine()).unwrap_err().to_string(),
        "the bundle needs version 2 of the agent, this is version 1"
    );
}

#[test]
fn an_old_sequence_is_refused_and_the_same_one_is_not() {
    assert_eq!((statement().check_sequence(16), statement().check_sequence(17)), (Ok(()), Ok(())));
    assert_eq!(
        statement().check_sequence(18).unwrap_err().to_string(),
        "the bundle has sequence 17 (version `2026.11 rc1`), this device takes 18 and higher"
    );
}
