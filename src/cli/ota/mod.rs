//! `ota`: updates of running devices that have two slots.

mod bundle;
mod check;
mod delta;
mod keys;
mod sign_args;

use clap::Subcommand;

use crate::error::Result;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub enum Ota {
    /// Make, show and replace the list of keys that devices trust.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Make a signed bundle of a system.
    Bundle(bundle::BundleVerb),
    /// Make what a device with one system needs to get another one.
    Delta(delta::Delta),
    /// Compare a bundle or delta with its signatures, and show what is in it.
    Check(check::Check),
}

impl Ota {
    pub fn run(self, report: &Report) -> Result<()> {
        match self {
            Ota::Keys(verb) => verb.run(report),
            Ota::Bundle(verb) => verb.run(report),
            Ota::Delta(verb) => verb.run(report),
            Ota::Check(verb) => verb.run(report),
        }
    }
}
