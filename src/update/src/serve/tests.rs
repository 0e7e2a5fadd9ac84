use std::io;

use skiff_disk::storage::Memory;

use super::*;
use crate::apply::tests::flat::{Flat, LEN};
use crate::apply::tests::steps::{Device, machine, small};
use crate::bundle::tests::trusted;
use crate::state::Copies;

fn request(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Frame::write(&mut frame, kind, body).expect("memory does not fail");
    frame
}

fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    std::iter::from_fn(|| Frame::read(&mut bytes).expect("whole frames")).collect()
}

/// What a device that runs `running` answers to these frames.
fn answers(memory: &Memory, running: Slot, requests: &[Vec<u8>]) -> (Vec<Frame>, io::Result<()>) {
    let agent = Updater { copies: Copies(Flat(memory)), machine: machine(), root: trusted(), running };
    let mut output = Vec::new();
    let result = serve(&agent, &mut &requests.concat()[..], &mut output);
    let mut answers = frames(&output);
    let hello = answers.remove(0);
    assert_eq!(hello.kind, Kind::Hello);
    assert!(hello.body.starts_with(b"skiff-update 1, zstd 1."), "{hello:?}");
    (answers, result)
}

fn device() -> Memory {
    let memory = Memory::new(LEN as u64);
    Device::install(&Flat(&memory), Slot::A, &small(1, 1));
    memory
}

fn update(bundle: &[u8], part: usize) -> Vec<Vec<u8>> {
    let data = bundle.chunks(part).map(|part| request(Kind::Data, part));
    [request(Kind::Apply, b"")].into_iter().chain(data).chain([request(Kind::End, b"")]).collect()
}

fn text(frame: &Frame) -> String {
    String::from_utf8(frame.body.clone()).expect("text")
}

#[test]
fn a_whole_update_over_a_link() {
    let memory = device();
    let mut requests = vec![request(Kind::Status, b""), request(Kind::Head, b"a")];
    requests.extend(update(&small(2, 2).bundle(), 97));
    let (found, result) = answers(&memory, Slot::A, &requests);
    result.expect("the link is fine");
    let kinds: Vec<Kind> = found.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [Kind::Done, Kind::Data, Kind::Done, Kind::Done]);
    assert!(text(&found[0]).starts_with("phase     idle\n"), "{}", text(&found[0]));
    assert_eq!(found[1].body, small(1, 1).parts().to_bytes(crate::bundle::Kind::Bundle));
    let done = text(&found[3]);
    assert!(
        done.ends_with("(3000 bytes were written, 0 were there) and is tried at the next start"),
        "{done}"
    );
    assert!(Device::has(&Flat(&memory), Slot::B, &small(2, 2)));

    let copies = Copies(Flat(&memory));
    let found = copies.load().expect("a state");
    copies.save(&found, &found.state.start().1.expect("it is armed")).expect("memory does not fail");
    let wishes = [request(Kind::Verify, b"b"), request(Kind::Confirm, b""), request(Kind::Confirm, b"")];
    let (found, _) = answers(&memory, Slot::B, &wishes);
    assert_eq!(text(&found[0]), "slot `b`: 3000 bytes are as they were signed");
    assert!(text(&found[1]).ends_with(" is confirmed"));
    assert_eq!(
        (found[2].kind, text(&found[2])),
        (Kind::Refused, "no-trial\nno slot is on trial: `b` is the good one\napply an update first".into())
    );
}

/// The reason comes although the host goes on sending, and the next wish is answered.
#[test]
fn a_refusal_is_not_lost() {
    let memory = device();
    let mut bundle = small(2, 2).bundle();
    let at = bundle.len() - 2500;
    bundle[at] ^= 1;
    let mut requests = update(&bundle, 100);
    requests.push(request(Kind::Status, b""));
    let (found, result) = answers(&memory, Slot::A, &requests);
    result.expect("the link is fine");
    assert_eq!(found[0].kind, Kind::Refused);
    assert!(
        text(&found[0]).starts_with("other-block\nthe block at byte 0 of `kernel` is not"),
        "{}",
        text(&found[0])
    );
    assert!(text(&found[1]).starts_with("phase     staging\n"), "{}", text(&found[1]));
}

#[test]
fn a_link_that_is_cut_changes_no_state_and_the_next_one_goes_on() {
    let memory = device();
    let requests = update(&small(2, 2).bundle(), 100);
    let whole: usize = requests.iter().map(Vec::len).sum();
    for len in (5..whole - 5).step_by(53) {
        let cut = [requests.concat()[..len].to_vec()];
        let (found, _) = answers(&memory, Slot::A, &cut);
        assert!(found.iter().all(|frame| frame.kind != Kind::Done), "{len} bytes");
        let state = Copies(Flat(&memory)).load().expect("a state").state;
        assert_eq!((state.good, state.trial), (Slot::A, None), "{len} bytes");
    }
    let (found, _) = answers(&memory, Slot::A, &requests);
    let done = text(&found[0]);
    assert!(
        done.contains("(0 bytes were written, 3000 were there)") || done.contains("(300 bytes"),
        "{done}"
    );
}

#[test]
fn what_is_no_frame_ends_the_link() {
    let memory = device();
    let message = |bytes: &[u8]| answers(&memory, Slot::A, &[bytes.to_vec()]).1.unwrap_err().to_string();
    assert_eq!(message(&[0; 4]), "a frame has 0 bytes, 1 to 1048577 are possible");
    assert_eq!(message(&[255; 4]), "a frame has 4294967295 bytes, 1 to 1048577 are possible");
    assert_eq!(message(&[0, 0, 0, 1, 77]), "77 is no kind of frame");
    assert_eq!(message(&request(Kind::End, b"")), "a frame `End` comes out of turn");
    assert_eq!(message(&request(Kind::Verify, b"c")), "`c` is not a slot: the slots are `a` and `b`");
    assert!(answers(&memory, Slot::A, &[vec![0, 0]]).1.is_err());
    assert!(Frame::write(&mut Vec::new(), Kind::Data, &vec![0; FRAME_MAX]).is_err());
}
