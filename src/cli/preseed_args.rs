//! `--ssh-key`, `--hostname`, `--wifi`, `--persist-dir` and `--container-image`: what a new medium knows before its first
//! boot; `--slots`: whether it has room for two systems.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Diagnostic, Io, Result};
use crate::persist::{ContainerImage, Hostname, PreSeed, PublicKeys, Wifi};
use crate::project::SlotSelection;

/// Heading of these options in the help; `next_help_heading` would be that of all that follow, too.
const HEADING: &str = "First boot";

/// Heading of those about the way back.
const SLOTS: &str = "Updates with a way back";

/// What only a new medium gets.
#[derive(Debug, Args)]
pub struct PreSeedArgs {
    /// Public key that may log in as root; can be given several times.
    #[arg(help_heading = HEADING, long = "ssh-key", value_name = "FILE.pub")]
    ssh_keys: Vec<PathBuf>,

    /// Name of the machine.
    #[arg(help_heading = HEADING, long, value_name = "NAME")]
    hostname: Option<String>,

    /// Wireless network to join; its password comes from `--wifi-password-file` or SKIFF_WIFI_PASSWORD.
    #[arg(help_heading = HEADING, long, value_name = "SSID")]
    wifi: Option<String>,

    /// File with the password of the wireless network (`-` for standard input).
    #[arg(help_heading = HEADING, long, value_name = "FILE", requires = "wifi")]
    wifi_password_file: Option<PathBuf>,

    /// The wireless network has no password.
    #[arg(help_heading = HEADING, long, requires = "wifi", conflicts_with = "wifi_password_file")]
    wifi_open: bool,

    /// Directory whose files are put on the persist partition, with their modes.
    #[arg(help_heading = HEADING, long, value_name = "DIR")]
    persist_dir: Option<PathBuf>,

    /// Image of a container, as an OCI archive, for the persist partition; can be given several times. A device loads it
    /// at its first boot, without a network, if its configuration has an image of this name. NAME is how the
    /// configuration calls it; without it the name that the archive has.
    #[arg(help_heading = HEADING, long = "container-image", value_name = "[NAME=]FILE")]
    container_images: Vec<String>,

    /// Make room for two systems, and a boot loader that goes back to the one before if a new one does not start:
    /// updates by `skiff-update` on the device need it. Both must fit.
    #[arg(help_heading = SLOTS, long)]
    slots: bool,

    /// Keys that may sign updates of this device, as `/etc/skiff/update.root`; without it those that a layer puts there.
    #[arg(help_heading = SLOTS, long, value_name = "FILE", requires = "slots")]
    update_root: Option<PathBuf>,
}

/// The variable that may hold the password: a command line can be read by every user of the machine.
const PASSWORD: &str = "SKIFF_WIFI_PASSWORD";

#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "give `--wifi-password-file FILE`, set {PASSWORD}, or say `--wifi-open`")]
#[error("the network `{ssid}` has no password")]
struct NoPassword {
    ssid: String,
}

impl PreSeedArgs {
    /// Reads and checks all of it.
    pub fn load(&self) -> Result<PreSeed> {
        let keys = self.ssh_keys.iter().map(|path| PublicKeys::read(path)).collect::<Result<_>>()?;
        let hostname = self.hostname.as_ref().map(|name| name.parse::<Hostname>()).transpose()?;
        let wifi = self.wifi.as_ref().map(|ssid| self.network(ssid)).transpose()?;
        let images = self.container_images.iter().map(|given| ContainerImage::read(given));
        Ok(PreSeed {
            keys,
            hostname,
            wifi,
            directory: self.persist_dir.clone(),
            container_images: images.collect::<Result<_, _>>()?,
        })
    }

    /// Slots, if they are wanted.
    pub fn slots(&self) -> Option<SlotSelection> {
        self.slots.then(|| SlotSelection { root: self.update_root.clone() })
    }

    fn network(&self, ssid: &str) -> Result<Wifi> {
        if self.wifi_open {
            return Ok(Wifi::new(ssid, None)?);
        }
        let password = match &self.wifi_password_file {
            Some(path) => read_password(path)?,
            None => match std::env::var(PASSWORD) {
                Ok(password) if !password.is_empty() => password,
                _ => return Err(NoPassword { ssid: ssid.into() }.into()),
            },
        };
        Ok(Wifi::new(ssid, Some(password.trim_end_matches(['\r', '\n'])))?)
    }
}

fn read_password(path: &Path) -> Result<String> {
    let read = match path.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(path),
    };
    Ok(read.map_err(Io::on("read", path))?)
}
