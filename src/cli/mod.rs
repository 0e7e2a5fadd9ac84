//! The command line: flags as close to what the user typed as possible, one thin file for each verb that turns
//! them into library calls and hands the result to [`crate::report`].

mod about;
mod args;
mod assemble;
mod boards;
mod buildroot;
mod cache;
mod cache_args;
mod clean;
mod cmd;
mod compat;
mod compile;
mod config;
mod configure;
mod configure_args;
mod demo;
mod devices;
mod env;
mod explain;
mod fetch;
mod flash;
mod flashed;
mod force;
mod grow_args;
mod hints;
mod hook;
mod image_args;
mod inspect;
mod install;
mod kept_manifest;
mod layer_program;
mod layers;
mod legal_info;
mod medium;
mod mkfs;
mod ota;
mod output_args;
mod plan;
mod preseed_args;
mod proof;
mod session_args;
mod shell;
mod shell_word;
mod simulate_args;
mod status;
mod target_args;
mod verify;
mod workspace_args;
mod write_args;

use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::report::Report;

/// Composes, flashes and verifies disk images for SkiffOS-style embedded systems, without root.
///
/// stdout is data, stderr is talk. Exit codes: 0 done, 1 failed, 2 usage, 3 verification mismatch, 4 refused
/// for safety, 130 ended by Ctrl-C, 143 by SIGTERM.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    /// Print one JSON document on stdout instead of text.
    #[arg(long, global = true)]
    pub json: bool,

    /// Print nothing on stderr but warnings and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Without one the state of the workspace is shown, as by `status`.
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one for each run")]
enum Verb {
    /// Make the configuration of a workspace from layers.
    Configure(configure::Configure),
    /// Build the system of a workspace with Buildroot.
    Compile(compile::Compile),
    /// Run goals of Buildroot's make in a workspace: menuconfig, linux-rebuild, help.
    Buildroot(buildroot::BuildrootVerb),
    /// Collect sources, licenses and manifests of a system.
    LegalInfo(legal_info::LegalInfo),
    /// Run hooks of layers; called by Buildroot.
    #[command(hide = true)]
    Hook(hook::Hook),
    /// Get the source tree of Buildroot that the project is made for.
    Fetch(fetch::Fetch),
    /// Remove what was built in a workspace, and its configuration.
    Clean(clean::Clean),
    /// Compose a disk image with its manifest and block map.
    Assemble(assemble::Assemble),
    /// Show the exact bytes that would be written; writes nothing.
    Plan(plan::PlanVerb),
    /// List disks, and which of them may be written.
    Devices(devices::Devices),
    /// Compose onto a block device, or copy a ready image, and verify it by reading it back.
    Flash(flash::Flash),
    /// Update the system on an image or a device that has one, and keep persist and all ids.
    Install(install::Install),
    /// Update running devices that have two slots: keys, bundles and deltas.
    #[command(subcommand)]
    Ota(ota::Ota),
    /// Compare an image or a device with its manifest and name what is damaged.
    Verify(verify::Verify),
    /// Show what is in an image or on a device.
    Inspect(inspect::Inspect),
    /// Tell where a path of the root filesystem comes from.
    Explain(explain::Explain),
    /// Boards that can be composed for.
    #[command(subcommand)]
    Boards(boards::Boards),
    /// Configuration layers.
    #[command(subcommand)]
    Layers(layers::Layers),
    /// Settings that layers ask for, who won, and what became of them.
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Show the project, the chosen layers, how far the workspace is, and what to do next.
    Status(status::Status),
    /// Run a command of a layer, or list them.
    Cmd(cmd::Cmd),
    /// Start a shell in the workspace with the environment of programs of layers.
    Shell(shell::Shell),
    /// Print the environment of programs of layers, as a shell reads it.
    Env(env::Env),
    /// Make one filesystem from a directory or tar archive.
    #[command(subcommand)]
    Mkfs(mkfs::Mkfs),
    /// Compressed blocks that are kept between builds.
    #[command(subcommand)]
    Cache(cache::Cache),
    /// Compose, flash and verify a small built-in system, then show that damage is caught.
    Demo(demo::Demo),
}

impl Cli {
    /// Reads the command line of this process.
    pub fn read() -> std::result::Result<Cli, clap::Error> {
        let cli = Cli::try_parse()?;
        match cli.verb {
            Some(_) => Ok(cli),
            None => Cli::try_parse_from(std::env::args_os().chain(["status".into()])),
        }
    }

    /// Runs the verb of what [`Cli::read`] has read.
    pub fn run(self, report: &Report) -> Result<()> {
        self.run_verb(report).map_err(hints::worded)
    }

    fn run_verb(self, report: &Report) -> Result<()> {
        match self.verb.expect("without a verb it is `status`") {
            Verb::Configure(verb) => verb.run(report),
            Verb::Compile(verb) => verb.run(report),
            Verb::Buildroot(verb) => verb.run(report),
            Verb::LegalInfo(verb) => verb.run(report),
            Verb::Hook(verb) => verb.run(report),
            Verb::Fetch(verb) => verb.run(report),
            Verb::Clean(verb) => verb.run(report),
            Verb::Assemble(verb) => verb.run(report),
            Verb::Plan(verb) => verb.run(report),
            Verb::Devices(verb) => verb.run(report),
            Verb::Flash(verb) => verb.run(report),
            Verb::Install(verb) => verb.run(report),
            Verb::Ota(verb) => verb.run(report),
            Verb::Verify(verb) => verb.run(report),
            Verb::Inspect(verb) => verb.run(report),
            Verb::Explain(verb) => verb.run(report),
            Verb::Boards(verb) => verb.run(report),
            Verb::Layers(verb) => verb.run(report),
            Verb::Config(verb) => verb.run(report),
            Verb::Status(verb) => verb.run(report),
            Verb::Cmd(verb) => verb.run(report),
            Verb::Shell(verb) => verb.run(report),
            Verb::Env(verb) => verb.run(report),
            Verb::Mkfs(verb) => verb.run(report),
            Verb::Cache(verb) => verb.run(report),
            Verb::Demo(verb) => verb.run(report),
        }
    }
}
