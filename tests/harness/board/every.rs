//! Runs a check for every board that the program ships and tells all that fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use skiff_image::board::{Board, Registry};
use skiff_image::value::Arch;

/// Boards at a time: most of the time is that of other programs.
const THREADS: usize = 2;

/// Every shipped board with each of its architectures.
pub fn cases() -> Vec<(Board, Arch)> {
    let registry = Registry::built_in();
    let boards = registry.names().map(|name| registry.board(name).unwrap_or_else(|error| panic!("{error}")));
    let each = |board: Board| board.arch.clone().into_iter().map(move |arch| (board.clone(), arch));
    boards.flat_map(each).collect()
}

/// What a case is called in messages and files: `pi-4`, or `virt-qemu-arm64` where there is more than one
/// architecture.
pub fn case_name(board: &Board, arch: Arch) -> String {
    let name = board.name.replace('/', "-");
    if board.arch.len() > 1 { format!("{name}-{arch}") } else { name }
}

/// Runs `check` for all cases, and fails at the end if it panicked for any.
pub fn for_every_board(check: impl Fn(&Board, Arch) + Sync) {
    for_boards(|_| true, check);
}

/// The same for the boards that `pick` takes, of which there must be some.
pub fn for_boards(pick: impl Fn(&Board) -> bool, check: impl Fn(&Board, Arch) + Sync) {
    let cases: Vec<(Board, Arch)> = cases().into_iter().filter(|(board, _)| pick(board)).collect();
    assert!(!cases.is_empty(), "no board to check");
    let next = AtomicUsize::new(0);
    let (failed, times) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        while let Some((board, arch)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (name, started) = (case_name(board, *arch), Instant::now());
            if catch_unwind(AssertUnwindSafe(|| check(board, *arch))).is_err() {
                failed.lock().expect("no panic while it is held").push(name.clone());
            }
            times.lock().expect("no panic while it is held").push((started.elapsed(), name));
        }
    };
    // The message of a panic says which board it is about: threads are named after the test otherwise.
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let mut times = times.into_inner().expect("no panic while it is held");
    times.sort();
    let total: Duration = times.iter().map(|(time, _)| *time).sum();
    let slowest: Vec<String> =
        times.iter().rev().take(3).map(|(time, name)| format!("{name} {time:.1?}")).collect();
    println!("{} boards, {total:.1?} on {THREADS} threads; slowest: {}", times.len(), slowest.join(", "));
    let mut failed = failed.into_inner().expect("no panic while it is held");
    failed.sort();
    assert!(failed.is_empty(), "{} of {} boards failed: {}", failed.len(), times.len(), failed.join(", "));
}
