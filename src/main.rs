//! The `skiff-image` command.

use std::process::ExitCode;

use skiff_image::cli::Cli;
use skiff_image::report::Report;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let report = Report::new(cli.json, cli.quiet);
    match cli.run(&report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// A wrong command line, help or version. Whoever asked for JSON gets a wrong command line as JSON too.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        Report::new(true, false).usage(error);
        return ExitCode::from(2);
    }
    error.exit()
}
