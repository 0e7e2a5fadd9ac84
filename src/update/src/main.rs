//! `skiff-update`: the agent on a device, see the library of the same name.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use skiff_disk::error::{Diagnostic, Error, Io};
use skiff_update::Slot;
use skiff_update::apply::{Directory, Updater};
use skiff_update::keys::Root;
use skiff_update::serve::serve;
use skiff_update::state::Copies;

use config::Config;

#[path = "agent/config.rs"]
mod config;

const HELP: &str = "\
Updates the system of this device, with a way back.

Usage: skiff-update [--config FILE] [--slot a|b] COMMAND

Commands:
  apply FILE|-  Write the system of a bundle or delta into the slot that does not run, and try it at the next start
  status        Say which slot runs, which one is good, and what is going on
  confirm       Make the running system, which is on trial, the good one
  rollback      End a trial, or try the system that ran before
  verify [SLOT] Read the files of a slot, or of both, and name those that are damaged
  serve         Do all of this for a host at the other end of standard input and output

Options:
  --config FILE What this device is [default: /etc/skiff/update.conf]
  --slot a|b    Slot that runs [default: that of `skiffos.slot=` on the kernel command line]
  --help        Print this
  --version     Print the version

Exit codes: 0 done, 1 failed, 2 usage, 3 damage found, 4 refused.
";

/// What the user wants.
enum Command {
    Apply(String),
    Status,
    Confirm,
    Rollback,
    Verify(Option<Slot>),
    Serve,
}

struct Arguments {
    config: PathBuf,
    slot: Option<Slot>,
    command: Command,
}

/// Errors of the program itself.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
enum AgentError {
    #[error("nothing says which slot runs")]
    #[diagnostic(
        hint = "the boot loader has to pass `skiffos.slot=a` or `=b` to the kernel; `--slot` names it here"
    )]
    NoSlot,
    #[error("`skiffos.slot={found}` on the kernel command line names no slot")]
    #[diagnostic(hint = "the slots are `a` and `b`")]
    WrongSlot { found: String },
    #[error("{damaged} files are damaged")]
    #[diagnostic(kind = Mismatch, hint = "apply the bundle of that system again")]
    Damaged { damaged: usize },
    #[error("the link failed: {0}")]
    #[diagnostic(kind = Io, hint = "run the same command again: what was written is kept")]
    Link(#[source] io::Error),
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1).collect()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}\nhint: `skiff-update --help` lists the commands");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let diagnostic = error.diagnostic();
            eprintln!("error: {diagnostic}");
            if let Some(hint) = diagnostic.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(diagnostic.exit_code())
        }
    }
}

/// The arguments; none if they were answered already.
fn parse(words: Vec<String>) -> Result<Option<Arguments>, String> {
    let mut words = words.into_iter();
    let (mut config, mut slot) = (PathBuf::from("/etc/skiff/update.conf"), None);
    let command = loop {
        let word = words.next().ok_or("a command is missing")?;
        let mut value = || words.next().ok_or(format!("`{word}` needs a value"));
        match word.as_str() {
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(None);
            }
            "--version" | "-V" => {
                println!("skiff-update {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            "--config" => config = value()?.into(),
            "--slot" => slot = Some(value()?.parse::<Slot>().map_err(|error| error.to_string())?),
            "apply" => break Command::Apply(value()?),
            "status" => break Command::Status,
            "confirm" => break Command::Confirm,
            "rollback" => break Command::Rollback,
            "serve" => break Command::Serve,
            "verify" => {
                let slot = words.next().map(|slot| slot.parse::<Slot>().map_err(|error| error.to_string()));
                break Command::Verify(slot.transpose()?);
            }
            other => return Err(format!("`{other}` is no command")),
        }
    };
    match words.next() {
        Some(word) => Err(format!("`{word}` is one word too many")),
        None => Ok(Some(Arguments { config, slot, command })),
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let config = Config::read(&arguments.config)?;
    let changes = !matches!(arguments.command, Command::Status | Command::Verify(_));
    let store = if changes { Directory::lock(config.places)? } else { Directory::open(config.places) };
    let root = fs::read(&config.root).map_err(Io::on("read", &config.root))?;
    let agent = Updater {
        copies: Copies(store),
        machine: config.machine,
        root: Root::parse(&root)?,
        running: arguments.slot.map_or_else(running, Ok)?,
    };
    match &arguments.command {
        Command::Apply(from) => {
            let applied = agent.apply(&mut *open(from)?, &mut |_| ())?;
            println!("{applied}");
        }
        Command::Status => print!("{}", agent.status()?),
        Command::Confirm => println!("system {} is confirmed", agent.confirm()?),
        Command::Rollback => println!("{}", agent.rollback()?),
        Command::Verify(slot) => verify(&agent, *slot)?,
        Command::Serve => {
            let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
            serve(&agent, &mut input, &mut output).map_err(AgentError::Link)?;
            output.flush().map_err(AgentError::Link)?;
        }
    }
    Ok(())
}

fn open(from: &str) -> Result<Box<dyn Read>, Error> {
    match from {
        "-" => Ok(Box::new(io::stdin().lock())),
        path => Ok(Box::new(File::open(path).map_err(Io::on("open", Path::new(path)))?)),
    }
}

/// Slot that the boot loader has started.
fn running() -> Result<Slot, Error> {
    let path = Path::new("/proc/cmdline");
    let text = fs::read_to_string(path).map_err(Io::on("read", path))?;
    let found =
        text.split_ascii_whitespace().filter_map(|word| word.strip_prefix("skiffos.slot=")).next_back();
    let found = found.ok_or(AgentError::NoSlot)?;
    Ok(found.parse().map_err(|_| AgentError::WrongSlot { found: found.into() })?)
}

fn verify(agent: &Updater<Directory>, slot: Option<Slot>) -> Result<(), Error> {
    let mut damaged = 0;
    let all = slot.is_none();
    for slot in Slot::ALL.into_iter().filter(|one| slot.is_none_or(|slot| slot == *one)) {
        if all && agent.head(slot)?.is_none() {
            println!("slot `{slot}` has no whole system");
            continue;
        }
        let (whole, damages) = agent.verify(slot)?;
        damages.iter().for_each(|damage| println!("{damage}"));
        println!("slot `{slot}`: {whole} bytes are as they were signed");
        damaged += damages.len();
    }
    if damaged > 0 { Err(AgentError::Damaged { damaged }.into()) } else { Ok(()) }
}
