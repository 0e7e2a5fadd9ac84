//! Ctrl-C and SIGTERM are interruptions: a run that has begun to write a medium ends as after any other failure, and
//! leaves a medium that is recognisably unfinished. The second one ends the program at once, with 128 and the number
//! of the signal, as one that does not listen.
//!
//! Code that writes files only needs none of this: they have no name before they are complete, see
//! [`crate::storage::AtomicFile`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Error, ErrorKind};
use crate::storage::{Layer, ReadFrom, Target, TargetError, WriteOp};

/// Number of the signal that came last, or 0.
static SIGNAL: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// Exit code for an error: that of the error, but an interruption is that of the signal, as a shell reports a program
/// that it ended.
pub fn exit_code(error: &Error) -> u8 {
    let signal = SIGNAL.load(Ordering::SeqCst) as u8;
    match error.kind() {
        ErrorKind::Interrupted if signal != 0 => 128 + signal,
        _ => error.exit_code(),
    }
}

/// Wish of the user that a run ends. Copies are about the same run.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C and SIGTERM are waited for: to be called when writing begins, because until then nothing is
    /// lost by ending at once.
    pub fn listen() -> Interrupt {
        const ALLOWED: &str = "these signals can be listened to";
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the one that ends the program looks whether the other one came before.
            let flag = || Arc::clone(&interrupt.0);
            flag::register_conditional_shutdown(signal, 128 + signal, flag()).expect(ALLOWED);
            interrupt.raise_at(signal);
        }
        interrupt
    }

    fn raise_at(&self, signal: i32) {
        const ALLOWED: &str = "these signals can be listened to";
        flag::register(signal, Arc::clone(&self.0)).expect(ALLOWED);
        flag::register_usize(signal, Arc::clone(&SIGNAL), signal as usize).expect(ALLOWED);
    }

    /// The same, but a second signal changes nothing: for what make runs, which is signalled twice.
    pub fn listen_only() -> Interrupt {
        let interrupt = Interrupt::default();
        [SIGINT, SIGTERM].into_iter().for_each(|signal| interrupt.raise_at(signal));
        interrupt
    }

    /// Interrupts the run.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Returns whether the run is to end.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Fails if the run is to end; the error says what was done (`writing`) to what.
    pub fn ensure_not_raised(&self, verb: &'static str, target: &str) -> Result<(), TargetError> {
        match self.is_raised() {
            true => Err(TargetError::Interrupted { verb, target: target.into() }),
            false => Ok(()),
        }
    }
}

/// A target that fails with [`TargetError::Interrupted`] when the run is to end, before it writes or reads back
/// anything more.
pub struct Interruptible<'a> {
    target: &'a dyn Target,
    interrupt: Option<&'a Interrupt>,
    verb: &'static str,
    completes: AtomicBool,
}

impl<'a> Interruptible<'a> {
    /// `target`, until `interrupt` is raised; without one for ever.
    pub fn new(target: &'a dyn Target, interrupt: Option<&'a Interrupt>) -> Interruptible<'a> {
        Interruptible { target, interrupt, verb: "writing", completes: AtomicBool::new(false) }
    }

    /// The same, for work that writes nothing; `verb` is what messages call it.
    pub fn without_writes(self, verb: &'static str) -> Interruptible<'a> {
        Interruptible { verb, ..self }
    }

    /// Lets what follows end by itself: it takes moments, and half of it is worse than all.
    pub fn complete(&self) {
        self.completes.store(true, Ordering::SeqCst);
    }

    fn ensure_wanted(&self) -> Result<(), TargetError> {
        match self.interrupt.filter(|_| !self.completes.load(Ordering::SeqCst)) {
            Some(interrupt) => interrupt.ensure_not_raised(self.verb, self.target.name()),
            None => Ok(()),
        }
    }
}

impl Layer for Interruptible<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_read(&self, from: ReadFrom, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.ensure_wanted()?;
        from.read(self.target, buf, offset)
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        self.ensure_wanted()?;
        op.apply(self.target)
    }

    fn on_sync(&self) -> Result<(), TargetError> {
        self.ensure_wanted()?;
        self.target.sync()
    }
}
