//! What the machine has once or a few times, whatever thread or process wants it: behind locks of files.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// Virtual machines that run at once: each keeps one core busy.
const VIRTUAL_MACHINES: usize = 2;

/// The right to use something, given back when it is dropped.
pub struct Lease(File);

impl Drop for Lease {
    /// Explicitly: a program that another test starts has a copy of the open file between its fork and its exec.
    fn drop(&mut self) {
        self.0.unlock().expect("a lock can be given back");
    }
}

/// Attaching, detaching and counting loop devices: while this is held, no other test adds or removes one.
pub fn loop_devices() -> Lease {
    let file = lock_file("loop-devices");
    file.lock().expect("a file can be locked");
    Lease(file)
}

/// A place for a virtual machine.
pub fn virtual_machine() -> Lease {
    loop {
        for number in 0..VIRTUAL_MACHINES {
            let file = lock_file(&format!("virtual-machine-{number}"));
            match file.try_lock() {
                Ok(()) => return Lease(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => panic!("a file can be locked: {error}"),
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn lock_file(name: &str) -> File {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("locks");
    std::fs::create_dir_all(&directory).expect("target/ is writable");
    File::options().create(true).append(true).open(directory.join(name)).expect("target/ is writable")
}
