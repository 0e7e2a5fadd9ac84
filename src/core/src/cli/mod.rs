//! The command line.

mod containers;
mod options;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use skiff_core::accounts::{self, Report};
use skiff_core::config::Config;
use skiff_core::failure::{Failure, Result};
use skiff_core::places::Places;
use skiff_core::session;

use options::Options;

const HELP: &str = "\
usage: skiff-core COMMAND [--config FILE] [--root DIR] [--engine SOCKET]

Users of the host in containers, as a configuration has them.

  check [FILE]   reads a configuration, and reports each error with its line
  accounts       makes the accounts of the users; needs no engine
  plan           what `apply` would do with each image, container and user, and what would be lost
  apply          makes accounts, images and containers what the configuration says
  apply --recreate [NAME]
                 replaces containers although something in them is left behind, and tries again what was
                 rolled back; the old one stays as `NAME.previous`
  broker         serves one session on standard input, for `skiff-shell`; a socket unit of systemd starts it
  broker --listen
                 makes the socket itself, and serves all sessions
  quadlet [NAME] prints units of podman's generator for systemd, for going on without this program
  rollback NAME  makes `NAME.previous` the container in use, and the other way round

The configuration is `/mnt/persist/skiff/core/config.yaml`, or, if there is none, that of the image,
`/opt/skiff/coreenv/defconfig.yaml`. `--root` is for a system whose root is not `/`. The engine
is podman, at `/run/podman/podman.sock`.

Called `skiff-shell` this program is the login shell of users in containers.

Exit codes: 0 done, 1 failed, 2 usage, 3 a container stays as it is until somebody decides.
";

/// Does what the arguments say.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    if is_shell(arguments.first()) {
        return session::shell(&arguments, &Places::below(Path::new("/"))).end();
    }
    let options = match Options::parse(arguments.into_iter().skip(1)) {
        Ok(options) => options,
        Err(failure) => {
            eprintln!("error: {failure}");
            return ExitCode::from(2);
        }
    };
    let done = match options.command.as_str() {
        "help" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        "check" => check(&options),
        "plan" => containers::plan(&options),
        "apply" => containers::apply(&options),
        "rollback" => containers::rollback(&options),
        "broker" => broker(&options),
        "quadlet" => containers::quadlet(&options),
        _ => make_accounts(&options),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the program was called as a login shell: `login` and `su -` put `-` before its name.
fn is_shell(name: Option<&OsString>) -> bool {
    let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.rsplit('/').next().unwrap_or_default().trim_start_matches('-') == "skiff-shell"
}

/// Serves sessions.
fn broker(options: &Options) -> Result<ExitCode> {
    need_root("sessions are served")?;
    let places = places(options);
    if !options.listen {
        let connection = std::io::stdin().as_fd().try_clone_to_owned();
        let connection =
            connection.map_err(|error| Failure::new(format!("cannot use standard input: {error}")))?;
        session::serve(connection, &places, &session::Runtime::default())?;
        return Ok(ExitCode::SUCCESS);
    }
    let arguments = [("--root", &places.root), ("--engine", &places.engine)];
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program: {error}")))?;
    let Err(failure) = session::listen(&places, || {
        let mut broker = Command::new(&program);
        broker.arg("broker");
        for (name, path) in arguments {
            broker.arg(name).arg(path);
        }
        broker
    });
    Err(failure)
}

/// Places of the system, as the options have them.
fn places(options: &Options) -> Places {
    let mut places = Places::below(&options.root);
    if let Some(engine) = &options.engine {
        places.engine.clone_from(engine);
    }
    places
}

fn config_path(options: &Options) -> PathBuf {
    options.config.clone().unwrap_or_else(|| places(options).config())
}

/// The configuration, and its notes on standard error.
fn load(path: &Path) -> Result<Config> {
    let (config, notes) = Config::load(path)?;
    for note in notes {
        eprintln!("note: `{}` {note}", path.display());
    }
    Ok(config)
}

fn check(options: &Options) -> Result<ExitCode> {
    let path = options.operand.clone().unwrap_or_else(|| config_path(options));
    let config = load(&path)?;
    let counts = [
        (config.containers.len(), "container"),
        (config.images.len(), "image"),
        (config.users.len(), "user"),
    ];
    let counts = counts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    println!("`{}` is right: {}", path.display(), counts.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// What only root may do.
fn need_root(what: &str) -> Result<()> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Failure::new(format!("{what} by root")).hint("run this as root")),
    }
}

fn make_accounts(options: &Options) -> Result<ExitCode> {
    need_root("accounts are made")?;
    let config = load(&config_path(options))?;
    let report = accounts::apply(&config, &accounts::Places::below(&options.root))?;
    session::routes::write(&config, &report.uids, &places(options))?;
    Ok(if tell(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what happened to accounts. Reports whether all is well.
fn tell(report: &Report) -> bool {
    for (names, what) in [(&report.changed, "set up"), (&report.removed, "removed")] {
        names.iter().for_each(|name| println!("user `{name}`: {what}"));
    }
    for name in &report.unreachable {
        eprintln!("note: user `{name}` has neither a key nor a password");
    }
    for failure in &report.failures {
        eprintln!("error: {failure}");
    }
    report.failures.is_empty()
}
