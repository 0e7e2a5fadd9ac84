//! Several media that are written at the same time.

use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::Broadcast;
use super::session::DeviceSession;
use crate::source::Source;

/// Time that a medium that takes nothing may hold up the others.
const PATIENCE: Duration = Duration::from_secs(120);

/// Has `copy` write the same source in each session, all at the same time; the source is read once.
pub fn copy_to_each<T: Send>(
    source: &dyn Source,
    sessions: &[DeviceSession],
    copy: impl Fn(&DeviceSession, &dyn Source) -> T + Sync,
) -> Vec<T> {
    match sessions {
        [session] => vec![copy(session, source)],
        sessions => Broadcast::new(source, sessions.len(), PATIENCE).run(|readers| {
            at_the_same_time(sessions.iter().zip(readers), |(session, reader)| copy(session, &reader))
        }),
    }
}

/// Runs something for each item in a thread of its own.
pub fn at_the_same_time<I: Send, T: Send>(
    items: impl Iterator<Item = I>,
    run: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<ScopedJoinHandle<'_, T>> =
            items.map(|item| scope.spawn(move || run(item))).collect();
        let join = |thread: ScopedJoinHandle<'_, T>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}
