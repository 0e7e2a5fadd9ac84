//! Waits for a program while it prints.

use std::io::{BufRead, BufReader, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Duration, Ended, Instant, Interrupt, Io, ProcessError, Program, Stdio};

/// Interval at which the interruption and the clock are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Time that programs which a program left behind may go on printing after its end.
const REST: Duration = Duration::from_millis(500);

pub(super) fn run(
    program: &Program,
    interrupt: &Interrupt,
    limit: Option<Duration>,
    line: &mut dyn FnMut(&str),
) -> Result<Ended, ProcessError> {
    let begun = Instant::now();
    let (mut group, lines) = Group::start(program)?;
    let status = loop {
        match lines.recv_timeout(TICK) {
            Ok(text) => line(&text),
            // All of it have closed their ends, or the program has ended with something left behind.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK / 10),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = group.child.try_wait().map_err(Io::on("wait for", program.name()))? {
            break status;
        }
        if interrupt.is_raised() {
            return Err(ProcessError::Interrupted { name: program.name() });
        }
        if let Some(limit) = limit.filter(|limit| begun.elapsed() >= *limit) {
            return Err(ProcessError::TimedOut { name: program.name(), limit });
        }
    };
    let ended = Instant::now();
    while let Some(left) = REST.checked_sub(ended.elapsed())
        && let Ok(text) = lines.recv_timeout(left)
    {
        line(&text);
    }
    group.over = true;
    Ok(Ended { status, time: ended - begun })
}

/// A program and what it starts; ended when dropped before it is over.
struct Group {
    child: Child,
    over: bool,
    grace: Duration,
}

impl Group {
    fn start(program: &Program) -> Result<(Group, Receiver<String>), ProcessError> {
        let name = program.name();
        let (reader, writer) = std::io::pipe().map_err(Io::on("start", &name))?;
        let second = writer.try_clone().map_err(Io::on("start", &name))?;
        let mut command = program.command();
        command.stdin(Stdio::null()).stdout(writer).stderr(second).process_group(0);
        let child = command.spawn().map_err(|error| program.not_started(error))?;
        // Ours are closed with it: the pipe ends when the program's ends do.
        drop(command);
        let (sender, lines) = channel();
        std::thread::spawn(move || pass_lines(reader, &sender));
        Ok((Group { child, over: false, grace: program.grace }, lines))
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself in this moment.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.signal(Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < self.grace && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(TICK);
        }
        // What it started may not have listened, whether it did or not.
        self.signal(Signal::KILL);
        _ = self.child.wait();
    }
}

fn pass_lines(reader: PipeReader, sender: &Sender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        line.clear();
        // Nobody listens any more.
        if sender.send(text).is_err() {
            return;
        }
    }
}
