use skiff_disk::storage::Memory;

use super::write::{self, Summary};
use super::*;
use crate::Slot;
use crate::apply::tests::flat::Flat;
use crate::apply::tests::steps::{Device, machine};
use crate::apply::{Applied, ApplyError, Updater};
use crate::bundle::tests::{Sample, noise, trusted};
use crate::bundle::{Block, Head, Kind};
use crate::state::Copies;

/// Text-like bytes that compress, and differ with `seed`.
fn text(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len).iter().flat_map(|byte| [b'a' + byte % 16, b' ']).take(len).collect()
}

/// A system whose image has zstd blocks, one of which holds `changed`, and one metadata block.
fn system(sequence: u64, changed: u64, order: &[u64]) -> Sample {
    let block = |seed: u64| {
        let mut raw = text(seed, 1500);
        if seed == 2 {
            raw[700..708].copy_from_slice(&changed.to_be_bytes());
        }
        Form::Zstd.encode(&raw, 9).expect("it compresses")
    };
    let mut blocks: Vec<Vec<u8>> = order.iter().map(|seed| block(*seed)).collect();
    let mut table = text(50, 1000);
    table[..8].copy_from_slice(&changed.to_be_bytes());
    blocks.push(Form::Metadata.encode(&table, 9).expect("it compresses"));
    blocks.push(noise(changed, 20));
    let cuts = blocks.iter().map(Vec::len).collect();
    Sample { cuts: vec![Vec::new(), cuts], ..Sample::new(0, sequence) }
        .with_contents(vec![noise(7, 600), blocks.concat()])
}

fn head(sample: &Sample) -> Head {
    Head::read(&mut &sample.bundle()[..], &trusted()).expect("it is trusted")
}

fn delta(old: &Sample, new: &Sample) -> (Vec<u8>, Summary) {
    let (old_head, new_head) = (head(old), head(new));
    let read = |sample: &Sample, block: &Block, out: &mut Vec<u8>| {
        let place = block.offset as usize..block.offset as usize + block.len;
        *out = sample.contents[block.file][place].to_vec();
        Ok(())
    };
    let (mut read_old, mut read_new) = (
        |block: &Block, out: &mut Vec<u8>| read(old, block, out),
        |block: &Block, out: &mut Vec<u8>| read(new, block, out),
    );
    let mut out = Vec::new();
    let summary = write::write(
        write::System { head: &old_head, read: &mut read_old },
        write::System { head: &new_head, read: &mut read_new },
        &mut out,
    );
    (out, summary.expect("memory does not fail"))
}

/// A device with `old` that gets these bytes.
fn apply(old: &Sample, bytes: &[u8]) -> (Memory, Result<Applied, ApplyError>) {
    let memory = Memory::new(crate::apply::tests::flat::LEN as u64);
    Device::install(&Flat(&memory), Slot::A, old);
    let agent =
        Updater { copies: Copies(Flat(&memory)), machine: machine(), root: trusted(), running: Slot::A };
    let applied = agent.apply(&mut &bytes[..], &mut |_| ());
    drop(agent);
    (memory, applied)
}

#[test]
fn a_changed_block_is_made_from_what_the_device_has() {
    let (old, new) = (system(1, 1, &[1, 2, 3]), system(2, 2, &[3, 1, 2, 2]));
    let (delta, summary) = delta(&old, &new);
    // The kernel and two blocks are there, one is there when the second is wanted; 20 bytes are not worth a patch.
    assert_eq!((summary.present, summary.patched, summary.literal), (4, 2, 1), "{summary:?}");
    assert!(summary.patched_len < 200, "{summary:?}");
    assert!(delta.len() < new.parts().to_bytes(Kind::Delta).len() + 250);
    let (memory, applied) = apply(&old, &delta);
    assert!(matches!(applied, Ok(Applied::Armed { slot: Slot::B, .. })), "{applied:?}");
    assert!(Device::has(&Flat(&memory), Slot::B, &new));
}

#[test]
fn blocks_that_are_compressed_in_another_way_are_sent_as_they_are() {
    let (old, mut new) = (system(1, 1, &[1]), system(2, 1, &[1]));
    // Stored inside of a frame: no level makes that of text.
    let raw = text(9, 400);
    let mut context = zstd::zstd_safe::CCtx::create();
    context.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(true)).expect("a parameter");
    context.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true)).expect("a parameter");
    let mut frame = vec![0; 1000];
    let len = context.compress2(&mut frame[..], &raw).expect("it fits");
    frame.truncate(len);
    new.cuts[1].push(len);
    new.contents[1].extend(&frame);
    let (delta, summary) = delta(&old, &new);
    assert_eq!((summary.literal, summary.literal_len), (1, len as u64), "{summary:?}");
    let (memory, applied) = apply(&old, &delta);
    assert!(applied.is_ok() && Device::has(&Flat(&memory), Slot::B, &new), "{applied:?}");
}

#[test]
fn a_delta_for_another_system_is_refused_and_the_bundle_is_not() {
    let (old, new, third) = (system(1, 1, &[1, 2]), system(2, 2, &[1, 2]), system(1, 9, &[4, 5]));
    let (delta, _) = delta(&old, &new);
    let (_, applied) = apply(&third, &delta);
    let error = applied.unwrap_err().to_string();
    assert!(
        error.starts_with("the delta needs the block ")
            && error.ends_with(", which this device does not have"),
        "{error}"
    );
    assert!(apply(&third, &new.bundle()).1.is_ok());
}

/// Nothing behind the head is signed: whatever changes there, no other system comes out of it.
#[test]
fn any_changed_byte_makes_the_same_system_or_none() {
    let (old, new) = (system(1, 1, &[1, 2]), system(2, 2, &[1, 2]));
    let (delta, _) = delta(&old, &new);
    let head = new.parts().to_bytes(Kind::Delta).len();
    let mut refused = 0;
    for at in head..delta.len() {
        for bit in [0, 3, 7] {
            let mut changed = delta.clone();
            changed[at] ^= 1 << bit;
            let (memory, applied) = apply(&old, &changed);
            match applied {
                Ok(_) => assert!(Device::has(&Flat(&memory), Slot::B, &new), "bit {bit} of byte {at}"),
                Err(_) => refused += 1,
            }
        }
        assert!(apply(&old, &delta[..at]).1.is_err(), "{at} bytes");
    }
    assert!(refused > delta.len() - head, "{refused}");
    assert_eq!(
        apply(&old, &[&delta[..], b"\0"].concat()).1.unwrap_err().to_string(),
        "something follows the end of the bundle"
    );
}

#[test]
fn impossible_deltas_say_what_is_wrong() {
    let (old, new) = (system(1, 1, &[1, 2]), system(2, 2, &[1, 2]));
    let head = new.parts().to_bytes(Kind::Delta);
    let message = |rest: &[u8]| apply(&old, &[&head[..], rest].concat()).1.unwrap_err().to_string();
    assert_eq!(message(&[9]), "the delta is damaged at byte 1 behind its head: 9 is no kind of block");
    assert_eq!(message(&[2, 7]), "the delta is damaged at byte 2 behind its head: 7 is no form of a block");
    assert_eq!(
        message(&[2, 0, 0, 0, 255, 0, 0]),
        "the delta is damaged at byte 7 behind its head: a block has 16711680 bytes, 1048576 are the most"
    );
    assert_eq!(
        message(&[2, 0, 0, 0, 0, 2, 88, 33]),
        "the delta is damaged at byte 8 behind its head: a patch has 33 references, 32 are the most"
    );
    assert_eq!(
        message(&[2, 0, 0, 0, 0, 2, 88, 0, 0, 0, 0, 1, 5]),
        "the delta is damaged at byte 13 behind its head: a patch is damaged"
    );
    // A patch that makes other bytes than those of the index.
    let mut other = vec![2, 0, 0, 0, 0, 2, 88, 0];
    let frame = form::patch(b"", &[7; 600]).expect("it compresses");
    other.extend((frame.len() as u32).to_be_bytes());
    other.extend(frame);
    assert_eq!(
        message(&other),
        "the block at byte 0 of `kernel` does not come out as it was signed: this agent compresses otherwise"
    );
    assert_eq!(message(&[1, 1]), "the bundle ends in the delta, after 1 of 600 bytes of it");
}

/// What the composer stores in a squashfs comes out of a device byte by byte, for each level that it is likely to have.
#[test]
fn forms_round_trip() {
    let raw = text(1, 5000);
    for level in [1, 3, 9, 15, 19, 22] {
        for form in [Form::Zstd, Form::Metadata, Form::Plain] {
            let block = form.encode(&raw, level).expect("it compresses");
            assert_eq!(form.decode(&block, 5000).as_ref(), Some(&raw));
            assert_eq!(form.decode(&block, 4999), None, "more than was asked for");
            assert_eq!(Form::from_number(form.number()), Some(form));
        }
    }
    assert_eq!(Form::Zstd.encode(&noise(1, 5000), 9), None, "what does not get shorter is stored");
    assert_eq!(Form::Metadata.decode(b"\x05\x80abcde", 100), None, "a stored block");
    let (prefix, patch) = (text(2, 3000), form::patch(&text(2, 3000), &raw).expect("a patch"));
    assert_eq!(form::unpatch(&prefix, &patch, 5000), Some(raw));
    assert_eq!(form::unpatch(&prefix, &patch, 4999), None);
}
