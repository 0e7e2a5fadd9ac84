//! Media that lie: what they do, how they are found out, and what is said about them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::lies::{Lie, medium};
use skiff_image::Error;
use skiff_image::error::{Diagnostic, ErrorKind};
use skiff_image::event::Silent;
use skiff_image::flash::CapacityError;
use skiff_image::flash::probe::{capacity, places};
use skiff_image::readback::{Code, Diagnosis, Evidence};
use skiff_image::storage::{
    Fault, FaultKind, FaultLocation, Faulty, Geometry, Layer, MARK, Memory, ReadFrom, Simulation, SlowIo,
    Target, TargetError, Tear, Verb, Watchdog, WatchdogOptions, WriteOp,
};

const MIB: u64 = 1 << 20;
const KIB: usize = 1 << 10;
const ALWAYS: u64 = u64::MAX;

fn local(offset: u64, len: u64, kind: FaultKind, times: u64) -> Fault {
    Fault::Local { location: FaultLocation::At { offset, len }, kind, times }
}

/// What the medium and what the cache says.
fn views(target: &dyn Target, offset: u64, len: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut medium, mut cache) = (vec![0; len], vec![0; len]);
    target.read_back(&mut medium, offset).expect("read back");
    target.read_at(&mut cache, offset).expect("read");
    (medium, cache)
}

/// Bytes that differ everywhere.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Writes over older bytes at 1 MiB; returns both, and what the medium and the cache have then.
fn overwritten(fault: Fault, len: usize) -> [Vec<u8>; 4] {
    let memory = Memory::new(4 * MIB);
    let (old, new) = (noise(len, 1), noise(len, 2));
    memory.write_at(&old, MIB).expect("write");
    let target = Faulty::new(&memory, fault);
    target.write_at(&new, MIB).expect("nobody is told");
    let (medium, cache) = views(&target, MIB, len);
    [old, new, medium, cache]
}

#[test]
fn the_cache_has_what_was_written_whatever_the_medium_does() {
    for kind in [
        FaultKind::Flip { bit: 77, bits: 3 },
        FaultKind::Lose,
        FaultKind::Tear(Tear::Prefix),
        FaultKind::Tear(Tear::Subset(5)),
        FaultKind::Misplace { by: MIB },
        FaultKind::Stick(None),
        FaultKind::Stick(Some(0xff)),
    ] {
        for len in [512, 20_000, 3 * 4096] {
            let [_, new, medium, cache] = overwritten(local(MIB + 100, 8, kind, ALWAYS), len);
            assert!(cache == new, "{kind:?} {len}");
            assert!(medium != new, "{kind:?} {len}");
        }
    }
}

#[test]
fn each_kind_does_what_its_name_says() {
    let len = 16 * KIB;
    let bits = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    let spot = |kind| local(MIB + 5000, 100, kind, ALWAYS);

    let [_, new, medium, _] = overwritten(spot(FaultKind::Flip { bit: 9, bits: 5 }), len);
    assert_eq!(bits(&new, &medium), 5);
    assert_eq!((bits(&new[5000..5100], &medium[5000..5100]), new[5001] ^ medium[5001]), (5, 2));

    let [old, _, medium, _] = overwritten(spot(FaultKind::Lose), len);
    assert!(medium == old);

    let [old, new, medium, _] = overwritten(spot(FaultKind::Tear(Tear::Prefix)), len);
    assert!(medium[..4608] == new[..4608] && medium[4608..] == old[4608..]);

    let [old, new, medium, _] = overwritten(spot(FaultKind::Tear(Tear::Subset(1))), len);
    let kept = medium.chunks(512).zip(new.chunks(512)).filter(|(a, b)| a == b).count();
    let lost = medium.chunks(512).zip(old.chunks(512)).filter(|(a, b)| a == b).count();
    assert!(kept > 4 && lost > 4 && kept + lost == 32, "{kept} {lost}");

    let [old, new, medium, _] = overwritten(spot(FaultKind::Stick(None)), len);
    assert!(medium[5000..5100] == old[5000..5100] && medium[5100..] == new[5100..]);

    let [_, new, medium, _] = overwritten(spot(FaultKind::Stick(Some(7))), len);
    assert!(medium[5000..5100] == [7; 100] && medium[..5000] == new[..5000]);
}

#[test]
fn a_misplaced_write_goes_around_the_end() {
    let memory = Memory::new(4 * MIB);
    let target = Faulty::new(&memory, local(3 * MIB, 1, FaultKind::Misplace { by: MIB - 8192 }, 1));
    let new = noise(16 * KIB, 3);
    target.write_at(&new, 3 * MIB).expect("nobody is told");
    let bytes = memory.to_vec();
    assert!(bytes[(4 * MIB - 8192) as usize..] == new[..8192] && bytes[..8192] == new[8192..]);
    assert!(bytes[3 << 20..][..16 * KIB].iter().all(|byte| *byte == 0));
    let (_, start) = views(&target, 0, 8192);
    assert!(start == [0; 8192], "the cache does not know what became of the start");
}

#[test]
fn a_fault_that_passes_is_right_the_next_time() {
    for kind in [
        FaultKind::Flip { bit: 3, bits: 1 },
        FaultKind::Lose,
        FaultKind::Tear(Tear::Prefix),
        FaultKind::Misplace { by: 2 * MIB },
        FaultKind::Stick(None),
        FaultKind::Stick(Some(1)),
    ] {
        let memory = Memory::new(4 * MIB);
        let target = Faulty::new(&memory, local(MIB, 1, kind, 2));
        let new = noise(4096, 4);
        for time in 0..3 {
            target.write_at(&new, MIB).expect("write");
            let (medium, cache) = views(&target, MIB, 4096);
            assert_eq!((medium == new, cache == new), (time == 2, true), "{kind:?} {time}");
        }
        assert_eq!(target.hits(), 2);
    }
}

#[test]
fn a_place_can_be_found_by_what_is_written() {
    let memory = Memory::new(4 * MIB);
    let fault =
        Fault::Local { location: FaultLocation::Written(10_000), kind: FaultKind::Lose, times: ALWAYS };
    let target = Faulty::new(&memory, fault);
    for offset in [2 * MIB, MIB, 3 * MIB] {
        target.write_at(&noise(8192, offset), offset).expect("write");
    }
    let lost = |offset: u64| views(&target, offset, 8192).0.iter().all(|byte| *byte == 0);
    assert_eq!([2, 1, 3].map(|at| lost(at * MIB)), [false, true, false]);
    target.write_at(&noise(512, 9), MIB + 1536).expect("write");
    target.write_at(&noise(512, 9), MIB).expect("write");
    assert!(views(&target, MIB + 1536, 512).0 == [0; 512], "the sector of byte 10000 is what is bad");
    assert!(views(&target, MIB, 512).0 != [0; 512], "and no other");
}

#[test]
fn zeros_are_writes_too() {
    for kind in [
        FaultKind::Lose,
        FaultKind::Stick(None),
        FaultKind::Stick(Some(0xff)),
        FaultKind::Flip { bit: 0, bits: 1 },
    ] {
        let memory = Memory::new(4 * MIB);
        memory.write_at(&noise(4 << 20, 1), 0).expect("write");
        let target = Faulty::new(&memory, local(MIB, 512, kind, ALWAYS));
        target.zero(4096, 3 * MIB).expect("nobody is told");
        let (medium, cache) = views(&target, MIB, 512);
        assert!(medium != [0; 512] && cache == [0; 512], "{kind:?}");
        assert!(views(&target, 3 * MIB, 4096).0 == [0; 4096], "{kind:?}: it is zero elsewhere");
    }
}

#[test]
fn a_medium_that_wraps_keeps_the_last_write() {
    let memory = Memory::new(4 * MIB);
    let target = Faulty::new(&memory, Fault::Wrap { size: MIB });
    let (first, second) = (noise(8192, 1), noise(8192, 2));
    target.write_at(&first, 4096).expect("write");
    target.write_at(&second, 3 * MIB + 4096).expect("nobody is told");
    for at in 0..4 {
        assert!(views(&target, at * MIB + 4096, 8192).0 == second);
    }
    assert!(views(&target, 4096, 8192).1 == first, "the cache knows better");
    // Across the end.
    target.write_at(&first, MIB - 4096).expect("write");
    assert!(views(&target, 0, 4096).0 == first[4096..]);
    target.zero(3 * MIB + 8192, 100).expect("zero");
    assert!(views(&target, 8192, 100).0 == [0; 100]);
}

#[test]
fn a_short_medium_forgets() {
    let memory = Memory::new(4 * MIB);
    let target = Faulty::new(&memory, Fault::Short { size: MIB, reads: 0xff });
    let new = noise(8192, 1);
    target.write_at(&new, MIB - 4096).expect("nobody is told");
    target.write_at(&new, 2 * MIB).expect("nobody is told");
    let (medium, cache) = views(&target, MIB - 4096, 8192);
    assert!(medium[..4096] == new[..4096] && medium[4096..] == [0xff; 4096] && cache == new);
    assert!(views(&target, 2 * MIB, 8192) == (vec![0xff; 8192], new));
}

#[test]
fn reads_fail_or_differ() {
    let memory = Memory::new(4 * MIB);
    let new = noise(4096, 1);
    let read = |target: &dyn Target| {
        let mut bytes = vec![0; 4096];
        target.read_back(&mut bytes, MIB).map(|()| bytes)
    };
    let target = Faulty::new(&memory, local(MIB, 512, FaultKind::Unstable, 2));
    target.write_at(&new, MIB).expect("write");
    let readings = [0, 1, 2].map(|_| read(&target).expect("read"));
    assert!(readings[0] != new && readings[1] != new && readings[0] != readings[1] && readings[2] == new);

    let target = Faulty::new(&memory, local(MIB, 512, FaultKind::ReadError, 1));
    let error = Error::from(read(&target).expect_err("fails"));
    assert_eq!(
        error.to_string(),
        "cannot read back 4 KiB at offset 1048576 of `memory`: Input/output error (os error 5)"
    );
    assert_eq!((error.kind(), error.code()), (ErrorKind::Io, Some("unreadable")));
    assert!(read(&target).expect("the second time") == new);

    let target = Faulty::new(&memory, local(MIB, 512, FaultKind::WriteError, 1));
    let error = target.write_at(&noise(4096, 2), MIB).expect_err("fails");
    assert_eq!(error.code(), Some("write-error"));
    assert!(read(&target).expect("read") == new, "nothing was written");
}

#[test]
fn what_the_system_says_has_a_code() {
    let code = |fault| {
        let memory = Memory::new(MIB);
        Faulty::new(&memory, fault).write_at(&[1; 10], 0).expect_err("fails").code()
    };
    assert_eq!(code(Fault::Vanish { after: 5 }), Some("vanished"));
    assert_eq!(code(Fault::Full { after: 5 }), Some("full"));
    let memory = Memory::new(MIB);
    assert_eq!(memory.write_at(&[1], MIB).expect_err("fails").code(), Some("full"));
}

#[test]
fn a_simulation_is_what_its_text_says() {
    let open = |text: &str| text.parse::<Simulation>().expect(text).open().expect(text);
    let geometry = |text: &str| open(text).geometry();
    assert_eq!(geometry("memory"), Geometry { len: 8 << 30, sector_size: 512 });
    assert_eq!(geometry("memory,size=3MiB,sector=4096"), Geometry { len: 3 * MIB, sector_size: 4096 });
    let sound = open("memory,size=3MiB");
    sound.write_at(&[5; 4096], MIB).expect("write");
    sound.zero(MIB + 1, 7).expect("zero");
    let (medium, _) = views(&*sound, MIB, 10);
    assert_eq!(medium, [5, 0, 0, 0, 0, 0, 0, 0, 5, 5]);
    for text in [
        "flip",
        "flip,bits=9",
        "drop",
        "torn",
        "torn,seed=1",
        "stuck",
        "stuck,with=0xff",
        "misplace",
        "unstable",
    ] {
        let target = open(&format!("faulty:{text},at=1MiB,size=64MiB"));
        let new = noise(4096, 7);
        target.write_at(&new, MIB).expect("nobody is told");
        assert!(views(&*target, MIB, 4096).0 != new, "{text}");
    }
    for (text, code) in
        [("eio-write,at=1MiB", "write-error"), ("vanish,at=100", "vanished"), ("full,at=100", "full")]
    {
        let target = open(&format!("faulty:{text},size=64MiB"));
        assert_eq!(target.write_at(&[1; 4096], MIB).expect_err(text).code(), Some(code), "{text}");
    }
    let target = open("faulty:eio-read,at=1MiB,size=64MiB,times=1");
    assert_eq!(target.read_back(&mut [0; 512], MIB).expect_err("fails").code(), Some("unreadable"));
    target.read_back(&mut [0; 512], MIB).expect("once");
    let target = open("faulty:wrap,size=64MiB,real=2MiB");
    target.write_at(&[1; 512], 5 * MIB).expect("nobody is told");
    assert_eq!(views(&*target, MIB, 512).0, [1; 512]);
    let target = open("faulty:short,size=64MiB,with=9");
    assert_eq!(views(&*target, 32 * MIB, 2).0, [9; 2]);
    let target = open("faulty:stall,at=0,for=0.01,size=1MiB");
    target.write_at(&[1; 512], 0).expect("late");
    let target = open("faulty:slow,write=1GB,read=1GB,size=1MiB");
    target.write_at(&[1; 512], 0).expect("late");
    target.read_back(&mut [1; 512], 0).expect("late");
}

#[test]
fn a_simulation_knows_whether_its_fault_had_an_effect() {
    let struck = |text: &str, bytes: &[u8], at: u64| {
        let simulation: Simulation = format!("faulty:{text},size=64MiB").parse().expect("parses");
        let (target, strikes) = simulation.open_watched().expect("opens");
        // What only shows its own address does not count.
        target.write_at(&[&MARK[..], &[1; 496]].concat(), 0).expect("write");
        _ = target.write_at(bytes, at);
        _ = target.read_back(&mut vec![0; bytes.len().min(1 << 20)], at);
        strikes.expect("it has a fault").any()
    };
    let noise = noise(3 << 20, 1);
    for text in [
        "drop",
        "flip",
        "torn",
        "stuck",
        "misplace",
        "unstable",
        "eio-write",
        "vanish",
        "full",
        "slow,write=1GB",
    ] {
        assert!(struck(text, &noise, MIB), "{text}");
    }
    assert!(struck("wrap", &noise, 60 * MIB) && !struck("wrap", &noise, MIB));
    assert!(!struck("drop", &vec![0; 3 << 20], MIB), "zeros that are dropped are zeros");
    assert!(!struck("drop,at=40MiB", &noise, MIB));
    let sound: Simulation = "memory,size=1MiB".parse().expect("parses");
    assert!(sound.open_watched().expect("opens").1.is_none());
}

#[test]
fn the_seed_of_a_simulation_chooses_the_place() {
    let bad = |seed: u64| {
        let text = format!("faulty:drop,seed={seed},size=64MiB");
        let target = text.parse::<Simulation>().expect("parses").open().expect("opens");
        let sectors = 4 * MIB / 512;
        (0..sectors).for_each(|sector| target.write_at(&[1; 512], sector * 512).expect("write"));
        let lost = |sector: &u64| views(&*target, sector * 512, 512).0 == [0; 512];
        (0..sectors).filter(lost).collect::<Vec<_>>()
    };
    let places = [bad(0), bad(0), bad(1), bad(2)];
    assert!(places.iter().all(|lost| lost.len() == 1), "{places:?}");
    assert!(places[0] == places[1] && places[1] != places[2] && places[2] != places[3], "{places:?}");
}

#[test]
fn a_simulation_can_be_kept_in_a_file() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = dir.path().join("disk.img");
    let text = format!("faulty:flip,at=0,times=1,size=2MiB,file={}", path.display());
    let simulation: Simulation = text.parse().expect("parses");
    assert_eq!(simulation.to_string(), text);
    simulation.open().expect("opens").write_at(&[0; 512], 0).expect("write");
    let bytes = std::fs::read(&path).expect("read");
    assert_eq!(bytes.len() as u64, 2 * MIB);
    assert_eq!(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    let again: Simulation = format!("memory,file={}", path.display()).parse().expect("parses");
    assert_eq!(views(&*again.open().expect("opens"), 0, 512).0, bytes[..512]);
    let other: Simulation = format!("memory,size=1MiB,file={}", path.display()).parse().expect("parses");
    let error = Error::from(other.open().map(drop).expect_err("another size"));
    assert_eq!(error.to_string(), format!("`{}` has 2 MiB but `size` is 1 MiB", path.display()));
    assert_eq!(error.hint().as_deref(), Some("leave out `size`, or give a file that is not there yet"));
    assert_eq!(error.kind(), ErrorKind::Fit);
}

#[test]
fn a_text_that_is_no_simulation_says_why() {
    let said = |text: &str| {
        let error = Error::from(text.parse::<Simulation>().expect_err(text));
        assert_eq!(error.kind(), ErrorKind::Input);
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let said = |text| {
        let (message, hint) = said(text);
        format!("{message}|{hint}")
    };
    assert_eq!(
        said("flip"),
        "`flip` is not a simulation: expected `memory` or `faulty:KIND`|for example `faulty:flip,seed=1,size=1GiB`"
    );
    assert_eq!(
        said("faulty:flop"),
        "there is no fault `flop`; there are wrap, short, flip, drop, torn, misplace, stuck, unstable, eio-read, \
         eio-write, stall, vanish, full, slow|did you mean `flip`?"
    );
    assert_eq!(said("faulty:wrap,at=5"), "`wrap` has no option `at`; it has size, sector, file, seed, real|");
    assert_eq!(
        said("memory,sise=5"),
        "`memory` has no option `sise`; it has size, sector, file|did you mean `size`?"
    );
    assert_eq!(said("faulty:flip,seed=x"), "`x` is not a value of `seed`: expected a number|");
    assert_eq!(
        said("faulty:stuck,with=256"),
        "`256` is not a value of `with`: expected a byte, for example 0xff|"
    );
    assert_eq!(
        said("faulty:stall,for=-1"),
        "`-1` is not a value of `for`: expected seconds, for example 2.5|"
    );
    assert_eq!(said("memory,sector=1024"), "`1024` is not a value of `sector`: expected 512 or 4096|");
    assert_eq!(said("memory,size=0"), "`0` is not a value of `size`: expected more than nothing|");
    assert_eq!(
        said("memory,size=big"),
        "`size`: `big` is not a size: expected a number and a unit, for example `8 KiB`|"
    );
    let wrap: Simulation = "faulty:wrap,size=1MiB,real=2MiB".parse().expect("parses");
    let error = Error::from(wrap.open().map(drop).expect_err("larger than it says"));
    assert_eq!(error.to_string(), "the real size, 2 MiB, is not below that of the medium, 1 MiB");
    assert_eq!(error.hint().as_deref(), Some("give a smaller `real` or a larger `size`"));
}

/// Probes a medium with a fault.
fn probed(len: u64, fault: Fault) -> Result<(), CapacityError> {
    let memory = Memory::new(len);
    capacity(&Faulty::new(&memory, fault), 1, &Silent)
}

#[test]
fn every_false_size_is_found() {
    // Every power of two, and sizes that are none.
    for len in [4 * MIB, 37 * MIB + 512, 160 * MIB] {
        let powers = (20..28).map(|power| 1_u64 << power);
        let others = (1..40_u64).map(|number| MIB + number * 0x0009_4200 + number % 8 * 512);
        let near = [len / 4096 * 4096 - 8192, 8192, 40_960, 100 * 512 + 7 * 4096];
        for real in powers.chain(others).chain(near).filter(|real| *real + 8192 <= len) {
            match probed(len, Fault::Wrap { size: real }) {
                Err(CapacityError::Wraps { claimed, real: found, .. }) => {
                    assert_eq!((claimed, found), (len, real))
                }
                other => panic!("{len} {real}: {other:?}"),
            }
            for reads in [0, 0xff] {
                match probed(len, Fault::Short { size: real, reads }) {
                    Err(CapacityError::Short { claimed, real: found, .. }) => {
                        assert_eq!((claimed, found), (len, real / 4096 * 4096));
                    }
                    Ok(()) if len - real < 68_000 => {} // no more than a bad place
                    other => panic!("{len} {real}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn other_faults_are_no_false_size() {
    let len = 64 * MIB;
    let sound = |fault| probed(len, fault).is_ok();
    assert!(sound(Fault::Full { after: u64::MAX }));
    for at in (0..len).step_by(3 << 18) {
        for (kind, times) in [
            (FaultKind::Flip { bit: 5, bits: 1 }, ALWAYS),
            (FaultKind::Lose, 1),
            (FaultKind::Stick(Some(0)), ALWAYS),
            (FaultKind::Misplace { by: 8 * MIB }, 1),
            (FaultKind::Unstable, ALWAYS),
            (FaultKind::ReadError, ALWAYS),
        ] {
            assert!(sound(local(at, 4096, kind, times)), "{kind:?} at {at}");
        }
    }
    for write in 0..30 {
        assert!(sound(Fault::Lose { write }), "{write}");
    }
}

#[test]
fn an_address_bit_that_is_ignored_is_a_false_size() {
    for (len, bits) in [(4 * MIB, 12..21), (64 * MIB, 12..25)] {
        for bit in bits {
            let medium = medium(len, &[Lie::DeadBit(1 << bit)]);
            match capacity(&*medium, 1, &Silent) {
                Err(CapacityError::Folds { claimed, apart, .. }) => {
                    assert_eq!((claimed, apart), (len, 1 << bit))
                }
                // The highest bit of all, or the one below, is a medium that begins again.
                Err(CapacityError::Wraps { real, .. }) => {
                    assert!(1 << bit == real && 3 * real > len - 4096, "{bit}")
                }
                other => panic!("{len} {bit}: {other:?}"),
            }
        }
    }
    let error =
        Error::from(capacity(&*medium(64 * MIB, &[Lie::DeadBit(MIB)]), 1, &Silent).expect_err("found"));
    assert_eq!(
        (error.to_string().as_str(), error.code()),
        (
            "`memory` says that it has 64 MiB but ignores a bit of its addresses: bytes that are 1 MiB apart are the \
             same place",
            Some("fake-capacity")
        )
    );
}

/// A medium that keeps small writes to itself until it is synced, as the page cache of a block device does.
struct WritesSmallOnesLater {
    medium: Faulty<Memory>,
    later: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl Layer for WritesSmallOnesLater {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.medium
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        match op {
            WriteOp::Bytes { offset, bytes } if bytes.len() < 64 * KIB => {
                self.later.lock().expect("lock").push((offset, bytes.to_vec()));
                Ok(true)
            }
            op => op.apply(&self.medium),
        }
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        let later = std::mem::take(&mut *self.later.lock().expect("lock"));
        later.iter().try_for_each(|(offset, bytes)| self.medium.write_at(bytes, *offset))?;
        self.medium.sync()
    }
}

#[test]
fn a_false_size_is_found_whenever_small_writes_reach_the_medium() {
    for (len, real) in [(256 * MIB, 128 * MIB), (64 * MIB, 17 * MIB + 512), (64 * MIB, 16 * MIB)] {
        let medium = Faulty::new(Memory::new(len), Fault::Wrap { size: real });
        let target = WritesSmallOnesLater { medium, later: Mutex::default() };
        match capacity(&target, 1, &Silent) {
            Err(CapacityError::Wraps { real: found, .. }) => assert_eq!(found, real),
            other => panic!("{len} {real}: {other:?}"),
        }
    }
}

#[test]
fn a_probe_tells_where_it_wrote() {
    let memory = Memory::new(64 * MIB);
    capacity(&memory, 5, &Silent).expect("as large as it says");
    let ranges = places(64 * MIB);
    assert!((16..200).contains(&ranges.len()), "{}", ranges.len());
    for range in &ranges {
        memory.zero(range.start, range.end - range.start).expect("zero");
    }
    assert!(memory.to_vec().iter().all(|byte| *byte == 0));
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    assert!(bytes < 3 * MIB, "{bytes}");
    assert_eq!(ranges.iter().map(|range| range.end).max(), Some(64 * MIB));
    assert!(ranges.iter().all(|range| range.start >= 4096), "sector 0 is left alone");
    assert!(places(65_535).is_empty() && places(65_536).len() > 2);
}

#[test]
fn a_false_size_is_told_with_both_numbers() {
    let said = |fault| {
        let error = Error::from(probed(64 * MIB, fault).expect_err("found"));
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        (error.to_string(), error.code(), error.hint())
    };
    let hint = "do not use this medium: give it back where it was bought, and use another one";
    assert_eq!(
        said(Fault::Wrap { size: 16 * MIB }),
        (
            "`memory` says that it has 64 MiB but has 16 MiB: what is written behind that destroys what is before"
                .into(),
            Some("fake-capacity"),
            Some(hint.into())
        )
    );
    assert_eq!(
        said(Fault::Short { size: 20 * MIB, reads: 0 }),
        (
            "`memory` says that it has 64 MiB but keeps only what is written to the first 20 MiB".into(),
            Some("fake-capacity"),
            Some(hint.into())
        )
    );
    let (message, code, hint) = said(local(0, 64 * MIB, FaultKind::Lose, ALWAYS));
    assert_eq!(
        (message.as_str(), code),
        ("`memory` keeps nothing of what is written to it", Some("dropped-write"))
    );
    assert_eq!(hint.as_deref(), Some(Code::DroppedWrite.hint()));
    assert!(matches!(probed(64 * MIB, Fault::Vanish { after: MIB }), Err(CapacityError::Target(_))));
}

/// Writes a megabyte of which a sector belongs elsewhere too, and diagnoses what is there.
fn diagnosed(fault: Fault, known: bool, writes: u32) -> Diagnosis {
    let memory = Memory::new(4 * MIB);
    let (old, new) = (noise(MIB as usize, 1), noise(MIB as usize, 2));
    if known {
        memory.write_at(&old, MIB).expect("write");
    }
    let target = Faulty::new(&memory, fault);
    (0..writes).for_each(|_| target.write_at(&new, MIB).expect("nobody is told"));
    let read = || {
        let mut bytes = vec![0; MIB as usize];
        target.read_back(&mut bytes, MIB).map(|()| bytes).ok()
    };
    let (found, again) = (read(), read());
    let evidence = Evidence {
        offset: MIB,
        expected: &new,
        found: found.as_deref(),
        again: again.as_deref(),
        before: known.then_some(&old),
        writes,
    };
    evidence.diagnose()
}

#[test]
fn a_diagnosis_says_what_was_wrong() {
    let said = |kind, known, writes| {
        let Diagnosis { code, at, text } = diagnosed(local(MIB + 70_000, 3000, kind, ALWAYS), known, writes);
        format!("{code} {at}: {text}")
    };
    let number = |at: usize| format!("{:#04x}", noise(MIB as usize, 2)[at]);
    let flipped = |at: usize, bit: u8| format!("{:#04x}", noise(MIB as usize, 2)[at] ^ bit);
    assert_eq!(
        said(FaultKind::Flip { bit: 8 * 10 + 1, bits: 1 }, true, 1),
        format!(
            "bit-flip 1118586: one bit of byte 1118586 is wrong: it is {}, not {}",
            flipped(70_010, 2),
            number(70_010)
        )
    );
    let several = said(FaultKind::Flip { bit: 0, bits: 40 }, true, 1);
    assert!(
        several.starts_with("bit-flip 1118576: 40 bits are wrong, the first in byte 1118576: it is "),
        "{several}"
    );
    assert_eq!(
        said(FaultKind::Lose, true, 1),
        "dropped-write 1048576: a write to byte 1048576 was lost: it has what was there before"
    );
    assert_eq!(
        said(FaultKind::Lose, false, 1),
        "dropped-write 1048576: a write to byte 1048576 was lost: it has zeros"
    );
    assert_eq!(
        said(FaultKind::Lose, true, 3),
        "stuck-region 1048576: byte 1048576 has what was there before, though it was written 3 times"
    );
    assert_eq!(
        said(FaultKind::Tear(Tear::Prefix), true, 1),
        "torn-write 1118208: a write ended at byte 1118208: behind it is what was there before"
    );
    let torn = said(FaultKind::Tear(Tear::Subset(4)), true, 1);
    assert!(
        torn.starts_with("torn-write ")
            && torn.contains(" of 2048 sectors were not written, the first one at byte "),
        "{torn}"
    );
    assert_eq!(said(FaultKind::Unstable, true, 1).split(' ').next(), Some("unstable-read"));
    assert!(said(FaultKind::Unstable, true, 1).contains(": two readings differ, first in byte "));
    assert_eq!(said(FaultKind::ReadError, true, 1), "unreadable 1048576: byte 1048576 cannot be read");
    assert_eq!(
        {
            let stuck = local(MIB + 8192, 8192, FaultKind::Stick(Some(0xff)), ALWAYS);
            diagnosed(stuck, true, 1).to_string()
        },
        "every byte is 0xff, from byte 1056768 on"
    );
}

#[test]
fn what_may_belong_elsewhere_is_told() {
    let (expected, other) = (noise(8192, 1), noise(8192, 2));
    let evidence = |found, again, before| Evidence {
        offset: 4000,
        expected: &expected,
        found,
        again,
        before,
        writes: 1,
    };
    let foreign = evidence(Some(&other), Some(&other), None);
    assert_eq!(foreign.stray(), Some((4000, &other[..96])), "up to where the sector ends");
    assert_eq!(evidence(Some(&expected), Some(&expected), None).stray(), None);
    assert_eq!(evidence(Some(&other), Some(&expected), None).stray(), None, "nobody knows what it is");
    assert_eq!(evidence(Some(&other), Some(&other), Some(&other)).stray(), None, "it was there before");
    let said = |evidence: Evidence| {
        let found = evidence.diagnose();
        format!("{} {}", found.code, found.text)
    };
    assert_eq!(
        said(foreign),
        "dropped-write a write to byte 4000 was lost: it has something that this run did not write"
    );
    let before = noise(8192, 3);
    assert_eq!(
        said(evidence(Some(&other), Some(&other), Some(&before))),
        "wrong-content byte 4000 has something that was not written"
    );
    assert_eq!(
        said(evidence(Some(&expected), Some(&expected), None)),
        "unstable-read another reading was not the same"
    );
    let Diagnosis { code, at, text } = Diagnosis::misplaced(5, 7);
    assert_eq!((code, at, text.as_str()), (Code::MisplacedWrite, 5, "byte 5 has what belongs to byte 7"));
}

#[test]
fn every_code_has_a_word_and_advice_of_its_own() {
    let words: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(
        words,
        [
            "fake-capacity",
            "bit-flip",
            "dropped-write",
            "torn-write",
            "misplaced-write",
            "stuck-region",
            "unstable-read",
            "stale-read",
            "unreadable",
            "stalled",
            "vanished",
            "full",
            "write-error",
            "wrong-content"
        ]
    );
    let hints: Vec<&str> = Code::ALL.iter().map(|code| code.hint()).collect();
    assert_eq!(
        hints,
        [
            "do not use this medium: give it back where it was bought, and use another one",
            "try another cable, reader or port first; if it is the same bit again, the medium is worn out: use another \
             one",
            "check the lock switch of the card and try another reader; if writes are lost again, the medium is at the \
             end of its life: use another one",
            "the power of the medium may have failed: try another port without a hub, or a powered one",
            "do not trust this medium: what is written to one place appears in another; use another one",
            "the medium is worn out there and cannot be repaired: use another one",
            "try another reader or cable; if it stays, the medium is about to fail",
            "the reader answers with what it has read before: plug the medium in again, or use another reader",
            "try another reader or cable; if it stays, the medium is broken there",
            "try another reader, cable or port",
            "plug the medium in firmly, or try another cable or port, and start again",
            "use a larger medium",
            "try another reader or cable; if it stays, the medium is broken or write-protected",
            "try again with another reader or cable; if it stays, the medium is worn out",
        ]
    );
}

/// A target that hangs until it is let go.
struct Hanging {
    memory: Memory,
    go_on: AtomicBool,
    hangs_at: u64,
}

impl Hanging {
    fn wait(&self, offset: u64) {
        while offset == self.hangs_at && !self.go_on.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Layer for Hanging {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &self.memory
    }

    fn own_name(&self) -> Option<&str> {
        Some("card")
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.wait(offset);
        from.read(&self.memory, buf, offset)
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        self.wait(op.offset());
        op.apply(&self.memory)
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        self.wait(0);
        Ok(())
    }
}

fn hanging(hangs_at: u64) -> Arc<Hanging> {
    Arc::new(Hanging { memory: Memory::new(4 * MIB), go_on: AtomicBool::new(false), hangs_at })
}

#[test]
fn a_target_that_hangs_is_given_up() {
    let card = hanging(MIB);
    let options = WatchdogOptions { notice: Duration::from_millis(20), timeout: Duration::from_millis(300) };
    let told = Mutex::new(Vec::new());
    let watched = Watchdog::new(card.clone(), options, |stall| told.lock().expect("lock").push(stall));
    // On a busy machine that, too, may take longer than the bound.
    let answers = |operation: &mut dyn FnMut() -> Result<(), TargetError>| {
        assert!((0..100).any(|_| operation().is_ok()), "it answers there");
    };
    answers(&mut || watched.write_at(&[1; 512], 0));
    let error = Error::from(watched.write_at(&[2; 4096], MIB).expect_err("it hangs there"));
    assert_eq!(
        error.to_string(),
        "`card` does not answer: to write 4 KiB at offset 1048576 has taken 0 seconds"
    );
    assert_eq!((error.kind(), error.code()), (ErrorKind::Io, Some("stalled")));
    assert_eq!(error.hint().as_deref(), Some("try another reader, cable or port"));
    let mut seen = told.lock().expect("lock").clone();
    seen.retain(|stall| stall.offset == MIB);
    assert!(seen.len() > 2, "{seen:?}");
    assert_eq!(seen[0], SlowIo { verb: Verb::Write, offset: MIB, len: 4096, seconds: 0 });
    // Everything else hangs for a shorter time.
    for error in [
        watched.read_back(&mut [0; 16], MIB).expect_err("hangs"),
        watched.read_at(&mut [0; 16], MIB).expect_err("hangs"),
        watched.zero(MIB, 100).expect_err("hangs"),
    ] {
        assert_eq!(error.code(), Some("stalled"));
    }
    let mut byte = [0];
    answers(&mut || watched.read_back(&mut byte, 0));
    assert_eq!(byte, [1]);
    card.go_on.store(true, Ordering::SeqCst);
}

#[test]
fn a_target_that_is_only_slow_is_waited_for() {
    let card = hanging(0);
    let options = WatchdogOptions { notice: Duration::from_millis(5), timeout: Duration::from_secs(600) };
    let release = card.clone();
    let watched = Watchdog::new(card, options, |_| release.go_on.store(true, Ordering::SeqCst));
    watched.sync().expect("it answers in the end");
}

#[test]
fn what_is_watched_has_the_same_bytes_from_many_threads() {
    let memory = Arc::new(Memory::new(16 * MIB));
    let watched = Watchdog::new(memory.clone(), WatchdogOptions::default(), |stall| panic!("{stall:?}"));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let watched = &watched;
            scope.spawn(move || {
                for index in 0..64 {
                    let (at, len) = ((thread * 64 + index) << 16, 60_000 - index as usize * 700);
                    watched.write_at(&noise(len, at), at).expect("write");
                    let mut bytes = vec![0; len];
                    watched.read_back(&mut bytes, at).expect("read back");
                    assert!(bytes == noise(len, at));
                }
            });
        }
    });
    watched.zero(0, MIB).expect("zero");
    watched.sync().expect("sync");
    assert!(memory.to_vec()[..1 << 20].iter().all(|byte| *byte == 0));
    let error = watched.write_at(&[1], 16 * MIB).expect_err("behind the end").to_string();
    assert!(error.starts_with("cannot write 1 bytes at offset 16777216 of `memory`"), "{error}");
    drop(watched);
    assert_eq!(Arc::strong_count(&memory), 1, "nobody holds the target any more");
}
