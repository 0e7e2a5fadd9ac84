//! The `skiff-image` command.

use std::process::ExitCode;

use skiff_image::Result;
use skiff_image::cli::Cli;
use skiff_image::interrupt::exit_code;
use skiff_image::report::Report;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let report = Report::new(cli.json, cli.quiet);
    ended(&report, cli.run(&report).and_then(|()| report.ensure_printed()))
}

fn ended(report: &Report, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report.error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

/// A wrong command line, help or version. Whoever asked for JSON gets a wrong command line as JSON too.
fn usage(error: &clap::Error) -> ExitCode {
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    let report = Report::new(is_json, false);
    if !error.use_stderr() {
        return ended(&report, report.help(error));
    }
    if is_json {
        report.usage(error);
    } else {
        // Nobody reads a stderr that cannot be written.
        _ = error.print();
    }
    ExitCode::from(2)
}
