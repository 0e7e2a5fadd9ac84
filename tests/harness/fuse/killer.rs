//! A medium that kills the program that writes it, in the middle of one of its operations.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use skiff_image::storage::{Layer, Memory, ReadFrom, Target, TargetError, WriteOp};

/// What a run has come to, as the medium sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Nothing was written.
    #[default]
    Untouched,
    /// The ends of the medium were written, where tables are.
    Ends,
    /// What lies between them is written.
    Body,
    /// It is read back.
    ReadBack,
    /// The ends are written again, with the table.
    Table,
}

/// Where tables are: the first and the last bytes of a medium.
const END: u64 = 1 << 20;
/// How long a program that was started stays unknown at most.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    program: Option<OwnedFd>,
    /// Operations that are let through before the program is killed; none: it is not.
    left: Option<u64>,
    /// What each operation was a part of.
    operations: Vec<Seen>,
}

impl State {
    fn seen(&self) -> Seen {
        self.operations.last().copied().unwrap_or_default()
    }
}

/// See the module.
pub struct Killer {
    pub medium: Arc<Memory>,
    state: Mutex<State>,
    known: Condvar,
}

impl Killer {
    pub fn new(len: u64) -> Killer {
        Killer { medium: Arc::new(Memory::new(len)), state: Mutex::default(), known: Condvar::new() }
    }

    /// Begins to count; the program that is told next is killed in operation `at`, if there is one.
    pub fn arm(&self, at: Option<u64>) {
        *self.state() = State { left: at, ..State::default() };
    }

    /// Tells which program to kill.
    pub fn aim(&self, process: u32) {
        let process = Pid::from_raw(process as i32).expect("the number of a process");
        let program = pidfd_open(process, PidfdFlags::empty()).expect("the program is there");
        self.state().program = Some(program);
        self.known.notify_all();
    }

    /// What each operation since it was armed was a part of. Nobody is killed any more.
    pub fn disarm(&self) -> Vec<Seen> {
        let mut state = self.state();
        state.left = None;
        std::mem::take(&mut state.operations)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation begins. When it is time, the program is killed: it waits for this operation, and for no other.
    fn begin(&self, change: impl FnOnce(Seen) -> Seen) {
        let mut state = self.state();
        let seen = change(state.seen());
        state.operations.push(seen);
        match state.left {
            Some(0) => {
                let unknown = |state: &mut State| state.program.is_none();
                let waited = self.known.wait_timeout_while(state, PATIENCE, unknown);
                let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                state.left = None;
                let program = state.program.as_ref().expect("the program was told");
                // It may have ended already: the kernel writes what it left behind.
                let _ = pidfd_send_signal(program, Signal::KILL);
            }
            left => state.left = left.map(|left| left - 1),
        }
    }

    fn writes(&self, offset: u64, len: u64) -> impl FnOnce(Seen) -> Seen {
        let body = offset >= END && offset + len <= self.medium.geometry().len - END;
        move |seen| match seen {
            Seen::Untouched | Seen::Ends if !body => Seen::Ends,
            Seen::ReadBack | Seen::Table if !body => Seen::Table,
            _ => Seen::Body,
        }
    }
}

impl Layer for Killer {
    fn inner(&self) -> &(impl Target + ?Sized) {
        &*self.medium
    }

    /// The kernel's cache is above; nothing is cached here.
    fn on_read(&self, _: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.begin(|seen| if seen == Seen::Body { Seen::ReadBack } else { seen });
        self.medium.read_back(buf, offset)
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        self.begin(self.writes(op.offset(), op.len()));
        op.apply(&self.medium)
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        self.begin(|seen| seen);
        self.medium.sync()
    }
}
