//! The command line.

mod options;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use skiff_core::accounts::{self, Places};
use skiff_core::config::Config;
use skiff_core::failure::{Failure, Result};

use options::Options;

const HELP: &str = "\
usage: skiff-core COMMAND [--config FILE] [--root DIR]

Users of the host in containers, as a configuration has them.

  check [FILE]   reads a configuration, and reports each error with its line
  accounts       makes the accounts of the users; needs no engine

The configuration is `/mnt/persist/skiff/core/config.yaml`, or, if there is none, that of the image,
`/opt/skiff/coreenv/defconfig.yaml`. `--root` is for a system whose root is not `/`.

Exit codes: 0 done, 1 failed, 2 usage.
";

/// Does what the arguments say.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
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

/// The file that counts: the user's, else the image's.
fn config_path(options: &Options) -> PathBuf {
    if let Some(path) = &options.config {
        return path.clone();
    }
    let user = options.root.join("mnt/persist/skiff/core/config.yaml");
    if user.exists() { user } else { options.root.join("opt/skiff/coreenv/defconfig.yaml") }
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

fn make_accounts(options: &Options) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new("accounts are made by root").hint("run this as root"));
    }
    let config = load(&config_path(options))?;
    let report = accounts::apply(&config, &Places::below(&options.root))?;
    for (names, what) in [(&report.changed, "set up"), (&report.removed, "removed")] {
        names.iter().for_each(|name| println!("user `{name}`: {what}"));
    }
    for name in &report.unreachable {
        eprintln!("note: user `{name}` has neither a key nor a password");
    }
    for failure in &report.failures {
        eprintln!("error: {failure}");
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
