//! The end of the road: a shell for those who are there, and a restart for those who are not.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::system::{RebootCommand, reboot};

use super::console;
use super::failure::Failure;
use super::options::Options;

/// Busyboxes, which are asked for their `sh`, and then a shell of its own.
const SHELLS: [&str; 5] =
    ["/skiff-init/busybox", "/boot/skiff-init/busybox", "/busybox", "/bin/busybox", "/bin/sh"];

/// Offers a shell for some time, and restarts the machine.
pub fn rescue(options: &Options) -> ! {
    let seconds = options.panic.as_secs();
    match shell() {
        Some(shell) => {
            console::say(format_args!("the system cannot start; Enter for a shell, restart in {seconds} s"));
            if pressed(options.panic) {
                run(&shell);
            }
        }
        None => {
            console::say(format_args!("the system cannot start; there is no shell, restart in {seconds} s"));
            std::thread::sleep(options.panic);
        }
    }
    restart()
}

fn shell() -> Option<PathBuf> {
    SHELLS.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Waits for a key on the console.
fn pressed(limit: Duration) -> bool {
    let Some(mut input) = console::input() else {
        std::thread::sleep(limit);
        return false;
    };
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if readable(&input, left) && matches!(input.read(&mut [0; 64]), Ok(1..)) {
            return true;
        }
        if left.is_zero() {
            return false;
        }
        // A console that has been closed is readable at once, and empty, for ever.
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

fn readable(input: &File, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).ok();
    let mut console = [PollFd::new(input, PollFlags::IN)];
    matches!(poll(&mut console, limit.as_ref()), Ok(1..))
}

fn run(shell: &Path) {
    console::say(format_args!("this is `{}`; leaving it restarts the machine", shell.display()));
    let mut command = Command::new(shell);
    if shell.ends_with("busybox") {
        command.arg("sh");
    }
    if let Err(source) = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/skiff-init").status() {
        console::failure(&Failure::Start { program: shell.into(), source });
    }
}

fn restart() -> ! {
    console::say("restart");
    rustix::fs::sync();
    if let Err(error) = reboot(RebootCommand::Restart) {
        console::failure(&Failure::Restart { source: error.into() });
    }
    // The kernel's own panic, which may restart the machine, is all that is left.
    std::process::exit(1)
}
