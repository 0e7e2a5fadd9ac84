//! Every state of a medium after the power failed during a recorded run.

use super::medium::Operation;

/// Longer writes are torn at some of their sectors only: the first and last ones and one between.
const TORN_EVERYWHERE: usize = 16;
const SECTOR: usize = 512;

fn write(bytes: &mut [u8], operation: &Operation, sectors: std::ops::Range<usize>) {
    if let Operation::Write { offset, bytes: written } = operation {
        let range = (sectors.start * SECTOR).min(written.len())..(sectors.end * SECTOR).min(written.len());
        bytes[offset + range.start..offset + range.end].copy_from_slice(&written[range]);
    }
}

fn sectors(operation: &Operation) -> usize {
    match operation {
        Operation::Write { bytes, .. } => bytes.len().div_ceil(SECTOR),
        Operation::Sync => 0,
    }
}

/// Hands every state to `check` with a description and the number of operations before the cut: before and after every
/// operation, torn within, and of what was not synced yet only one write, all but one, and some of them.
pub fn for_each_state(base: &[u8], operations: &[Operation], mut check: impl FnMut(&str, usize, &[u8])) {
    let mut synced = base.to_vec();
    let mut pending: Vec<&Operation> = Vec::new();
    let mut now = base.to_vec();
    check("before everything", 0, &now);
    for (index, operation) in operations.iter().enumerate() {
        if matches!(operation, Operation::Sync) {
            reordered(&synced, &pending, index, &mut check);
            synced.copy_from_slice(&now);
            pending.clear();
            continue;
        }
        let count = sectors(operation);
        for end in
            (1..count).filter(|end| count <= TORN_EVERYWHERE || [1, 2, count / 2, count - 1].contains(end))
        {
            for (name, range) in [("the first", 0..end), ("all but the first", end..count)] {
                let mut torn = now.clone();
                write(&mut torn, operation, range);
                check(&format!("{name} {end} of {count} sectors of operation {index}"), index, &torn);
            }
        }
        write(&mut now, operation, 0..count);
        pending.push(operation);
        check(&format!("after operation {index}"), index + 1, &now);
    }
    reordered(&synced, &pending, operations.len(), &mut check);
}

fn reordered(synced: &[u8], pending: &[&Operation], at: usize, check: &mut impl FnMut(&str, usize, &[u8])) {
    let mut with = |name: String, chosen: &dyn Fn(usize) -> bool| {
        let mut bytes = synced.to_vec();
        for (_, operation) in pending.iter().enumerate().filter(|(index, _)| chosen(*index)) {
            write(&mut bytes, operation, 0..sectors(operation));
        }
        check(&name, at, &bytes);
    };
    for only in 0..if pending.len() > 1 { pending.len() } else { 0 } {
        with(format!("only write {only} of those before operation {at}"), &|index| index == only);
        with(format!("all but write {only} of those before operation {at}"), &|index| index != only);
        let some = move |index: usize| (index.wrapping_mul(0x9E37_79B9) >> (only % 13)) & 1 == 1;
        with(format!("choice {only} of the writes before operation {at}"), &some);
    }
}
