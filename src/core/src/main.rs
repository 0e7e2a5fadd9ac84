//! `skiff-core`: users in containers. `skiff-core help` lists what it does; [`skiff_core`] says how.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect())
}
