use std::fs;
use std::io;

use skiff_disk::error::Diagnostic as _;
use skiff_disk::storage::{PowerCut, Target};

use super::record::{self, Form, RecordError};
use super::*;
use crate::oracle::{command, oracle};

const SYSTEM: SystemId = SystemId([0x11; 8]);
const OTHER: SystemId = SystemId([0x22; 8]);

fn armed() -> State {
    State::new(Slot::A, 4).arm(Slot::B, SYSTEM).expect("it can be armed")
}

/// A state in which everything has its longest form.
fn longest() -> State {
    let trial = Some(Trial { slot: Slot::B, left: 3, system: SYSTEM });
    let rejected = (0..REJECTED_MAX as u8).map(|byte| SystemId([byte; 8])).collect();
    State { changes: u32::MAX, good: Slot::A, trial, floor: u64::MAX, rejected }
}

fn after_starts(mut state: State, count: usize) -> (Vec<Slot>, State) {
    let mut started = Vec::new();
    for _ in 0..count {
        let (slot, written) = state.start();
        started.push(slot);
        state = written.unwrap_or(state);
    }
    (started, state)
}

#[test]
fn three_attempts_and_then_the_good_slot_for_ever() {
    let (started, state) = after_starts(armed(), 6);
    assert_eq!(started, [Slot::B, Slot::B, Slot::B, Slot::A, Slot::A, Slot::A]);
    assert_eq!(state.phase(Slot::A, Contents::Whole(SYSTEM)), Phase::Failed);
    let rejected = state.reject().expect("a spent trial can be rejected");
    assert_eq!(rejected.phase(Slot::A, Contents::Whole(SYSTEM)), Phase::Rejected);
    assert_eq!((rejected.floor, rejected.good), (4, Slot::A));
    // Power cycling alone never changes the slot.
    assert_eq!(after_starts(State::new(Slot::A, 0), 9), (vec![Slot::A; 9], State::new(Slot::A, 0)));
}

#[test]
fn phases_follow_the_steps() {
    let idle = State::new(Slot::A, 0);
    let phase = |state: &State, running, contents| state.phase(running, contents).to_string();
    assert_eq!(phase(&idle, Slot::A, Contents::Nothing), "idle");
    assert_eq!(phase(&idle, Slot::A, Contents::Part), "staging");
    assert_eq!(phase(&idle, Slot::A, Contents::Whole(SYSTEM)), "staged");
    assert_eq!(phase(&armed(), Slot::A, Contents::Whole(SYSTEM)), "armed (3 attempts left)");
    let (_, tried) = after_starts(armed(), 1);
    assert_eq!(phase(&tried, Slot::B, Contents::Whole(SYSTEM)), "trial (2 attempts left)");
    let confirmed = tried.confirm(Slot::B, 7).expect("it runs");
    assert_eq!(confirmed, State { changes: 2, good: Slot::B, trial: None, floor: 7, rejected: Vec::new() });
    // An older sequence that was granted does not lower the floor.
    let lower = after_starts(confirmed.arm(Slot::A, OTHER).expect("idle"), 1).1.confirm(Slot::A, 3);
    assert_eq!(lower.expect("it runs").floor, 7);
}

#[test]
fn impossible_steps_are_refused() {
    let idle = State::new(Slot::A, 0);
    let message = |error: StepError| format!("{error}; {}", error.hint().expect("a hint"));
    assert_eq!(
        message(idle.arm(Slot::A, SYSTEM).unwrap_err()),
        "slot `a` is the good one and cannot be tried; stage the update into slot `b`"
    );
    assert_eq!(
        message(armed().arm(Slot::B, OTHER).unwrap_err()),
        "slot `b` with system 1111111111111111 is on trial, 3 of 3 attempts left; confirm or reject it first"
    );
    assert_eq!(
        message(idle.confirm(Slot::A, 1).unwrap_err()),
        "no slot is on trial: `a` is the good one; apply an update first"
    );
    assert_eq!(
        message(armed().confirm(Slot::A, 1).unwrap_err()),
        "slot `a` runs, but slot `b` is on trial; restart the device to try it"
    );
    let rejected = after_starts(armed(), 3).1.reject().expect("on trial");
    assert_eq!(
        message(rejected.arm(Slot::B, SYSTEM).unwrap_err()),
        "system 1111111111111111 was tried on this device and rejected; make a bundle of a mended system"
    );
    assert!(rejected.arm(Slot::B, OTHER).is_ok(), "another system may be tried");
}

#[test]
fn disarming_rejects_only_what_was_started() {
    assert_eq!(armed().disarm().expect("armed").rejected, []);
    assert_eq!(after_starts(armed(), 1).1.disarm().expect("armed").rejected, [SYSTEM]);
    assert!(State::new(Slot::A, 0).disarm().is_err());
}

#[test]
fn the_oldest_rejected_system_is_forgotten() {
    let mut state = State::new(Slot::A, 0);
    for byte in 0..10 {
        state = state.arm(Slot::B, SystemId([byte; 8])).expect("idle").reject().expect("armed");
    }
    assert_eq!(state.rejected.len(), REJECTED_MAX);
    assert_eq!(state.rejected[0], SystemId([2; 8]));
}

#[test]
fn records_round_trip_and_the_longest_state_fits() {
    for state in [State::new(Slot::B, 0), armed(), longest()] {
        for form in [Form::Plain, Form::Flagged] {
            assert_eq!(record::decode(&record::encode(&state, form)), Ok((state.clone(), form)));
        }
    }
    let record = record::encode(&longest(), Form::Flagged);
    let used = record.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
    assert!(used + 2 <= record::LEN, "{used}");
}

/// U-Boot's own tool makes the same sector.
#[test]
fn records_are_environments_of_u_boot() {
    if !oracle("records_are_environments_of_u_boot", "mkenvimage") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (text, image) = (directory.path().join("text"), directory.path().join("image"));
    for (form, flag) in [(Form::Plain, None), (Form::Flagged, Some("-r"))] {
        let record = record::encode(&longest(), form);
        let list = &record[if form == Form::Plain { 4 } else { 5 }..];
        let lines =
            String::from_utf8(list.to_vec()).expect("text").trim_end_matches('\0').replace('\0', "\n");
        fs::write(&text, lines + "\n").expect("a file");
        let mut tool = command("mkenvimage");
        tool.args(flag).args(["-p", "0", "-s", "512", "-o"]).args([&image, &text]);
        assert!(tool.status().expect("it runs").success());
        assert_eq!(fs::read(&image).expect("an image"), record, "{form}");
    }
}

#[test]
fn any_changed_byte_of_a_record_is_noticed() {
    let record = record::encode(&armed(), Form::Plain);
    for at in 0..record::LEN {
        for bit in 0..8 {
            let mut changed = record;
            changed[at] ^= 1 << bit;
            assert!(record::decode(&changed).is_err(), "bit {bit} of byte {at}");
        }
    }
}

/// A record with this list and the right sum.
fn with_list(list: &str) -> [u8; record::LEN] {
    let mut record = [0; record::LEN];
    record[4..4 + list.len()].copy_from_slice(list.as_bytes());
    let crc = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    record
}

#[test]
fn wrong_records_say_what_is_wrong() {
    let message = |list: &str| record::decode(&with_list(list)).unwrap_err().to_string();
    let base = "skiff_changes=1\0skiff_floor=2\0";
    assert_eq!(message(base), "`skiff_good` is missing");
    assert_eq!(message("skiff_good"), "`skiff_good` is not of the form `name=value`");
    assert_eq!(message("skiff_good=a\0skiff_good=b"), "`skiff_good` is there twice");
    assert_eq!(message("skiff_good=c"), "`skiff_good` is `c`, not `a` or `b`");
    assert_eq!(message("skiff_good=a\0skiff_changes=01"), "`skiff_changes` is `01`, not a number of 32 bits");
    let good = format!("{base}skiff_good=a\0");
    let expected = "`skiff_try` is `a`, not the slot that is not the good one";
    assert_eq!(message(&format!("{good}skiff_try=a")), expected);
    assert_eq!(message(&format!("{good}skiff_try=b")), "`skiff_left` is missing");
    let left = format!("{good}skiff_try=b\0skiff_left=4");
    assert_eq!(message(&left), "`skiff_left` is `4`, not a number from 0 to 3");
    let system = format!("{good}skiff_try=b\0skiff_left=3\0skiff_system=11");
    assert_eq!(message(&system), "`skiff_system` is `11`, not an id of 16 hexadecimal digits");
    let zeros = record::decode(&[0; record::LEN]).unwrap_err();
    assert_eq!(zeros.to_string(), "its CRC-32 is 0fbb6d54, not 00000000 as it states");
    let unended = [b'x'; record::LEN - 4];
    let mut record = [b'x'; record::LEN];
    record[..4].copy_from_slice(&crc32fast::hash(&unended).to_le_bytes());
    assert_eq!(record::decode(&record), Err(RecordError::Unended));
    // What others keep beside ours is theirs.
    assert!(record::decode(&with_list(&format!("{good}bootdelay=2"))).is_ok());
}

/// The first two sectors of a target.
struct OnTarget<'a>(&'a dyn Target);

fn place(copy: Copy) -> u64 {
    if copy == Copy::First { 0 } else { 512 }
}

impl Sectors for OnTarget<'_> {
    fn read(&self, copy: Copy) -> io::Result<[u8; record::LEN]> {
        let mut sector = [0; record::LEN];
        self.0.read_back(&mut sector, place(copy)).map_err(io::Error::other)?;
        Ok(sector)
    }

    fn write(&self, copy: Copy, sector: &[u8; record::LEN]) -> io::Result<()> {
        self.0.write_at(sector, place(copy)).map_err(io::Error::other)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync().map_err(io::Error::other)
    }
}

fn medium(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

#[test]
fn the_second_copy_is_read_where_the_first_is_torn() {
    let (old, new) =
        (record::encode(&State::new(Slot::A, 0), Form::Plain), record::encode(&armed(), Form::Plain));
    let torn = [&new[..100], &old[100..]].concat();
    let load =
        |first: &[u8], second: &[u8]| Copies(OnTarget(&PowerCut::new(&medium(first, second), 512))).load();
    let found = load(&torn, &old).expect("the second is whole");
    assert_eq!((found.state, found.copy), (State::new(Slot::A, 0), Copy::Second));
    assert!(found.damage.expect("the first is torn").starts_with("its CRC-32 is "));
    assert_eq!(load(&new, &old).expect("the first is whole").state, armed());
    let error = load(&torn, &[0; 512]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("neither copy of the state record can be used: the first: its CRC-32 is "),
        "{text}"
    );
    assert!(text.ends_with("; the second: its CRC-32 is 0fbb6d54, not 00000000 as it states"), "{text}");
}

/// From every state of the copies that a cut can leave, every moment of the next change shows the old state or the new
/// one: also if the sector under way holds nothing readable.
#[test]
fn a_change_is_seen_as_a_whole_whenever_the_power_fails() {
    let (old, new) = (State::new(Slot::A, 0), armed());
    let (a, b) = (record::encode(&old, Form::Plain), record::encode(&new, Form::Plain));
    let stale = record::encode(&longest(), Form::Plain);
    let mut states = 0;
    for [first, second] in [[a, a], [a, stale], [a, [0; 512]], [[0xff; 512], a]] {
        let medium = PowerCut::new(&medium(&first, &second), 512);
        let copies = Copies(OnTarget(&medium));
        copies.save(&copies.load().expect("a state"), &new).expect("memory does not fail");
        for state in medium.states(0) {
            let seen = Copies(OnTarget(&*state.medium)).load().expect("one copy is whole").state;
            assert!(seen == old || seen == new, "{state}");
            states += 1;
        }
        let mut after = [0; 1024];
        medium.after().read_at(&mut after, 0).expect("memory");
        assert_eq!(after, [b, b].concat()[..]);
    }
    assert!(states >= 12, "{states}");
}

/// While one copy is written, the other one is whole: a torn sector never takes the last one.
#[test]
fn one_copy_is_whole_while_the_other_one_is_written() {
    struct Watched<'a>(OnTarget<'a>);
    impl Sectors for Watched<'_> {
        fn read(&self, copy: Copy) -> io::Result<[u8; record::LEN]> {
            self.0.read(copy)
        }
        fn write(&self, copy: Copy, sector: &[u8; record::LEN]) -> io::Result<()> {
            let other = if copy == Copy::First { Copy::Second } else { Copy::First };
            assert!(record::decode(&self.read(other)?).is_ok(), "the other copy is damaged");
            self.0.write(copy, sector)
        }
        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }
    }
    let good = record::encode(&State::new(Slot::A, 0), Form::Plain);
    for [first, second] in [[good, [0; 512]], [[0; 512], good], [good, good]] {
        let medium = PowerCut::new(&medium(&first, &second), 512);
        let copies = Copies(Watched(OnTarget(&medium)));
        copies.save(&copies.load().expect("a state"), &armed()).expect("memory does not fail");
    }
}

#[test]
fn a_write_that_was_lost_is_noticed() {
    struct Lying([u8; 512]);
    impl Sectors for Lying {
        fn read(&self, _: Copy) -> io::Result<[u8; record::LEN]> {
            Ok(self.0)
        }
        fn write(&self, _: Copy, _: &[u8; record::LEN]) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }
    let copies = Copies(Lying(record::encode(&State::new(Slot::A, 4), Form::Plain)));
    let error = copies.save(&copies.load().expect("a state"), &armed()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the first copy of the state record has other bytes than were written, the first at byte 0"
    );
}
