use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ed25519_dalek::SigningKey;
use skiff_disk::error::Diagnostic as _;

use super::*;
use crate::oracle::{command, oracle};

const NAMESPACE: &str = "skiff-update-statement";

/// A key pair that is the same in each run.
pub(crate) fn secret(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(crate) fn public(number: u8) -> Key {
    Key::ed25519(secret(number).verifying_key().to_bytes()).expect("a key")
}

pub(crate) fn sign(number: u8, namespace: &str, message: &[u8]) -> Signature {
    Signature::make(&secret(number), None, namespace, message)
}

pub(crate) fn root(epoch: u64, thresholds: (usize, usize), keys: &[u8], revoked: &[u8]) -> Root {
    let keys = keys.iter().map(|number| public(*number)).collect();
    let revoked = revoked.iter().map(|number| public(*number).fingerprint()).collect();
    Root { epoch, statements: thresholds.0, rotations: thresholds.1, keys, revoked }
}

pub(crate) fn signed_root(root: &Root, signers: &[u8]) -> SignedRoot {
    let text = root.to_text().into_bytes();
    let signatures = signers.iter().map(|number| sign(*number, ROOT_NAMESPACE, &text)).collect();
    SignedRoot { text, signatures }
}

fn run(command: &mut Command) {
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn ssh_keygen() -> Command {
    command("ssh-keygen")
}

fn make_key(path: &Path) -> Key {
    run(ssh_keygen().args(["-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f"]).arg(path));
    let line = fs::read_to_string(path.with_extension("pub")).expect("a public key");
    Key::parse(&line).expect("an Ed25519 key")
}

#[test]
fn signatures_of_ssh_keygen_are_understood() {
    let test = "signatures_of_ssh_keygen_are_understood";
    if !oracle(test, "ssh-keygen") || !oracle(test, "ssh-agent") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (path, message) = (directory.path().join("key"), directory.path().join("message"));
    let key = make_key(&path);
    let printed = ssh_keygen().args(["-l", "-f"]).arg(&path).output().expect("a fingerprint").stdout;
    assert!(String::from_utf8_lossy(&printed).contains(&format!(" {} ", key.fingerprint())), "{key:?}");
    fs::write(&message, b"a statement").expect("a file");
    let sign_with = ["-Y", "sign", "-n", NAMESPACE, "-f"];
    let signature = || {
        let armored = fs::read_to_string(message.with_extension("sig")).expect("a signature");
        let signature = Signature::from_armored(&armored).expect("a signature");
        fs::remove_file(message.with_extension("sig")).expect("it can be removed");
        signature
    };

    for hash in ["sha512", "sha256"] {
        run(ssh_keygen().args(["-O", &format!("hashalg={hash}")]).args(sign_with).arg(&path).arg(&message));
        let signature = signature();
        assert_eq!((signature.key(), signature.verify(NAMESPACE, b"a statement")), (&key, Ok(())));
        assert_eq!(Signature::parse(&signature.to_bytes()), Ok(signature));
    }
    // The key is in an agent only.
    let in_agent = r#"ssh-add -q "$0" && rm "$0" && exec ssh-keygen -Y sign -n "$1" -f "$0.pub" "$2""#;
    run(command("ssh-agent").args(["sh", "-c", in_agent]).arg(&path).arg(NAMESPACE).arg(&message));
    assert_eq!(signature().verify(NAMESPACE, b"a statement"), Ok(()));
}

/// What the tests make with keys of their own are signatures to OpenSSH, those of security keys too.
#[test]
fn ssh_keygen_understands_our_signatures() {
    if !oracle("ssh_keygen_understands_our_signatures", "ssh-keygen") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (allowed, armored) = (directory.path().join("allowed"), directory.path().join("message.sig"));
    for application in [None, Some("ssh:"), Some("ssh:skiff")] {
        let signature = Signature::make(&secret(1), application, NAMESPACE, b"a statement");
        assert_eq!(signature.verify(NAMESPACE, b"a statement"), Ok(()));
        assert_eq!(Key::parse(&signature.key().to_string()).as_ref(), Ok(signature.key()));
        fs::write(&allowed, format!("me {}\n", signature.key())).expect("a file");
        fs::write(&armored, signature.to_armored()).expect("a file");
        let mut verify = ssh_keygen();
        verify
            .args(["-Y", "verify", "-I", "me", "-n", NAMESPACE, "-f"])
            .arg(&allowed)
            .arg("-s")
            .arg(&armored);
        let mut child = verify.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"a statement").expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(&signature.key().fingerprint()), "{said}");
    }
}

#[test]
fn any_changed_bit_of_a_signature_is_noticed() {
    for application in [None, Some("ssh:")] {
        let signature = Signature::make(&secret(1), application, NAMESPACE, b"a statement");
        let bytes = signature.to_bytes();
        for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let verified = Signature::parse(&changed).and_then(|found| {
                found.verify(NAMESPACE, b"a statement")?;
                Ok(found.key().clone())
            });
            assert!(verified.is_err(), "bit {bit} of byte {at}");
        }
        for len in 0..bytes.len() {
            assert!(Signature::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
        assert!(Signature::parse(&[&bytes[..], b"\0"].concat()).is_err());
    }
}

#[test]
fn signatures_for_something_else_are_refused() {
    let fingerprint = public(1).fingerprint();
    let message = |error: SignatureError| format!("{error}; {}", error.hint().expect("a hint"));
    let again = "get the bundle again from who made it; if that does not help, do not trust it";
    assert_eq!(
        message(sign(1, "git", b"text").verify(NAMESPACE, b"text").unwrap_err()),
        format!("the signature by {fingerprint} was made for `git`, not for `{NAMESPACE}`; {again}")
    );
    assert_eq!(
        message(sign(1, NAMESPACE, b"text").verify(NAMESPACE, b"other text").unwrap_err()),
        format!(
            "the signature by {fingerprint} does not fit: what it signs, or itself, was changed; {again}"
        )
    );
    let damaged = "this is no signature of OpenSSH by an Ed25519 key";
    let text = |error: SignatureError| error.to_string();
    assert_eq!(
        text(Signature::parse(b"SSHSIG").unwrap_err()),
        format!("{damaged}: it is of another kind or version")
    );
    assert_eq!(
        text(Signature::from_armored("hello").unwrap_err()),
        format!("{damaged}: its first and last line are not those of a signature")
    );
}

#[test]
fn keys_that_cannot_sign_are_refused() {
    let message = |line: &str| Key::parse(line).unwrap_err().to_string();
    assert_eq!(message("-----BEGIN OPENSSH PRIVATE KEY-----"), "this is a private key");
    assert_eq!(
        message("ssh-rsa AAAA"),
        "`ssh-rsa` is no kind of key that can sign updates: `ssh-ed25519` and `sk-ssh-ed25519@openssh.com` are"
    );
    assert_eq!(message("ssh-ed25519 AAAA"), "what follows `ssh-ed25519` is no such key");
    assert_eq!(message("ssh-ed25519"), "what follows `ssh-ed25519` is no such key");
    // The neutral element: y = 1.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let error = Key::ed25519(neutral).unwrap_err();
    assert!(error.to_string().ends_with(" is a point of small order, for which anyone can sign"), "{error}");
    let line = format!("{} somebody@somewhere", public(1));
    assert_eq!(Key::parse(&line), Ok(public(1)));
}

#[test]
fn roots_follow_one_another() {
    let first = root(1, (1, 2), &[1, 2, 3], &[]);
    let second = root(2, (1, 2), &[2, 3, 4], &[1]);
    let third = root(3, (2, 2), &[4, 5], &[1, 2, 3]);
    let roots = [signed_root(&second, &[2, 3]), signed_root(&third, &[2, 3, 4, 5])];
    assert_eq!(first.follow(&roots), Ok(third.clone()));
    assert_eq!(second.follow(&roots), Ok(third.clone()), "the one that it has is passed over");
    assert_eq!(third.follow(&roots), Ok(third.clone()));
    assert_eq!(first.follow(&[]), Ok(first.clone()));
    assert_eq!(SignedRoot::decode_all(&SignedRoot::encode_all(&roots)), Ok(roots.to_vec()));
    let revoked = [public(1), public(2)].map(|key| key.fingerprint());
    assert_eq!(second.revoked_by(&[public(3), public(4)]), revoked);

    let message = |error: TrustError| format!("{error}; {}", error.hint().expect("a hint"));
    assert_eq!(
        message(first.follow(&roots[1..]).unwrap_err()),
        "root 3 follows root 1: root 2 is missing; make the bundle with all roots since root 1"
    );
    let too_few = |epoch, signers: &[u8]| {
        let roots = [signed_root(if epoch == 2 { &second } else { &third }, signers)];
        message(if epoch == 2 { first.follow(&roots) } else { second.follow(&roots) }.unwrap_err())
    };
    let more = "let more holders of keys sign";
    assert_eq!(too_few(2, &[2]), format!("root 2 has 1 of the 2 signatures that root 1 wants; {more}"));
    assert_eq!(too_few(2, &[]), format!("root 2 has 0 of the 2 signatures that root 1 wants; {more}"));
    assert_eq!(too_few(3, &[2, 3, 4]), format!("root 3 has 1 of the 2 signatures that root 3 wants; {more}"));
    assert_eq!(too_few(3, &[4, 5]), format!("root 3 has 1 of the 2 signatures that root 2 wants; {more}"));
    let fingerprint = public(9).fingerprint();
    assert!(
        too_few(2, &[2, 3, 9])
            .starts_with(&format!("root 2 is signed by {fingerprint}, which is not a key of root 2"))
    );
    let fingerprint = public(2).fingerprint();
    assert_eq!(
        too_few(2, &[2, 2]),
        format!("root 2 has two signatures by {fingerprint}; each key signs once")
    );
}

#[test]
fn statements_need_enough_known_keys() {
    let root = root(3, (2, 2), &[1, 2, 3], &[7]);
    let check = |signers: &[u8]| {
        let signatures: Vec<Signature> =
            signers.iter().map(|number| sign(*number, NAMESPACE, b"text")).collect();
        assert_eq!(decode_signatures(&encode_signatures(&signatures), "it"), Ok(signatures.clone()));
        root.check_statement(NAMESPACE, b"text", &signatures).map_err(|error| error.to_string())
    };
    assert_eq!((check(&[1, 2]), check(&[3, 1]), check(&[1, 2, 3])), (Ok(()), Ok(()), Ok(())));
    let error = |text: String| Err(text);
    assert_eq!(check(&[]), error("the statement has 0 of the 2 signatures that root 3 wants".into()));
    assert_eq!(check(&[1]), error("the statement has 1 of the 2 signatures that root 3 wants".into()));
    assert_eq!(
        check(&[1, 1]),
        error(format!("the statement has two signatures by {}", public(1).fingerprint()))
    );
    assert_eq!(
        check(&[1, 2, 9]),
        error(format!(
            "the statement is signed by {}, which is not a key of root 3",
            public(9).fingerprint()
        ))
    );
    assert_eq!(
        check(&[1, 7]),
        error(format!("the statement is signed by {}, which root 3 has revoked", public(7).fingerprint()))
    );
    let wrong = [sign(1, NAMESPACE, b"text"), sign(2, NAMESPACE, b"other")];
    assert_eq!(
        root.check_statement(NAMESPACE, b"text", &wrong).unwrap_err().to_string(),
        "the statement: the signature by ".to_owned()
            + &public(2).fingerprint()
            + " does not fit: what it signs, or itself, was changed"
    );
}

#[test]
fn roots_have_one_form() {
    let good = root(2, (1, 2), &[1, 2], &[3]);
    let text = good.to_text();
    assert_eq!(Root::parse(text.as_bytes()), Ok(good));
    let message = |from: &str, to: &str| {
        assert!(text.contains(from));
        Root::parse(text.replace(from, to).as_bytes()).unwrap_err().to_string()
    };
    let read = "a root cannot be read: ";
    assert_eq!(message("epoch 2", "epoch 0"), format!("{read}line 2: `epoch` is `0`, not a number from 1"));
    assert_eq!(
        message("statements 1", "statements 3"),
        "root 2 cannot be used: `statements` is 3, and it has 2 keys"
    );
    assert_eq!(
        message("rotations 2", "rotations 0"),
        "root 2 cannot be used: `rotations` is 0, and it has 2 keys"
    );
    assert_eq!(
        message("root 1\n", "root 2\n"),
        format!("{read}line 1 is `skiff-update root 2`, `skiff-update root 1` was expected")
    );
    assert_eq!(
        message("rotations 2\n", ""),
        format!("{read}line 4 is `key {}`, `rotations` was expected", public(1))
    );
    let (one, two) = (public(1).to_string(), public(2).to_string());
    assert_eq!(message(&two, &one), format!("{read}line 6: `key {one}` is there twice"));
    let revoked = public(2).fingerprint();
    assert_eq!(
        message(&public(3).fingerprint(), &revoked),
        format!("root 2 cannot be used: {revoked} is one of its keys, and revoked")
    );
    assert!(Root::parse(&text.as_bytes()[..text.len() - 1]).is_err(), "without the last newline");
    assert!(Root::parse(format!("{text}\n").as_bytes()).is_err(), "with another line");
}
