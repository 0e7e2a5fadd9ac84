//! The device that is written: given, described, agreed to, opened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::force::{Force, ForceError};
use crate::device::{Candidate, Destruction, Host, Override, Overrides, Reason, Refused, existing};
use crate::error::Result;
use crate::report::{Answer, Report};
use crate::source;
use crate::storage::{Device, DeviceError, ReadOnly};

/// Devices that are written.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Block device of the whole medium, for example /dev/sdz or a link to it in /dev/disk/by-id; for boards without a
    /// partition table that of the partition, for example /dev/sdz3. Several are written at the same time.
    #[arg(required_unless_present = "simulate", conflicts_with = "simulate", value_name = "DEVICE")]
    devices: Vec<PathBuf>,

    #[command(flatten)]
    consent: ConsentArgs,
}

/// Consent given before, and refusals that a person overrides.
#[derive(Debug, Args)]
pub struct ConsentArgs {
    /// Do not ask.
    #[arg(long)]
    yes: bool,

    /// Do not ask if this is the token of the device, which `devices` shows: another device in its place is refused.
    #[arg(long, value_name = "TOKEN")]
    confirm: Vec<String>,

    /// Write although the device is mounted, used as swap space, held by what is built on it, internal or unusually
    /// large; or although a ready image is not a raw one (not-raw), ends too early (cut-off), has a block map that leaves
    /// out what it needs (block-map), is made for other sectors (sectors) or has a GPT that others cannot read
    /// (damaged-table). Each has to be given. The disk of the running system is never written.
    #[arg(long, value_name = "WORD")]
    force: Vec<Force>,
}

/// Kind of device that an image is for.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A whole disk.
    Disk,
    /// A partition, perhaps one that the image names.
    Partition {
        /// Its id in the table.
        partuuid: Option<String>,
    },
    /// No device.
    Nowhere,
}

/// Reason why nothing was written.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(
    kind = Refused,
    hint = "another device may be in its place; `skiff-image devices` lists them with their tokens"
)]
enum ConfirmError {
    #[error("`{}` was not written: the answer was not `{name}`", device.display())]
    #[diagnostic(hint = "run it again and type `{name}`, as the question has it")]
    Declined { device: PathBuf, name: String },
    #[error("`{}` was not written: there is no terminal to ask on", device.display())]
    #[diagnostic(
        hint = "give `--confirm {token}` to write this device, or `--yes` to write whatever is there"
    )]
    NoTerminal { device: PathBuf, token: String },
    #[error("`{}` was not written: its token is not `{given}`", device.display())]
    OtherToken { device: PathBuf, given: String },
    #[error("no device that was given has the token `{0}`")]
    UnusedToken(String),
    #[error("`{}` was given twice", .0.display())]
    #[diagnostic(kind = Input, hint = "give each device once")]
    Twice(PathBuf),
}

impl TargetArgs {
    /// Objections to a ready image that the user overrides.
    pub fn image_overrides(&self) -> source::Overrides {
        self.consent.image_overrides()
    }

    /// Fails if one of them is given where no ready image is copied.
    pub fn reject_image_overrides(&self) -> Result<(), ForceError> {
        self.consent.reject_image_overrides()
    }

    /// As they were given.
    pub fn devices(&self) -> &[PathBuf] {
        &self.devices
    }

    /// Refuses what must not be written before any work is done. What is a partition passes: only the image shows
    /// whether it should be one.
    pub fn look(&self) -> Result<()> {
        let host = self.consent.host();
        self.devices().iter().try_for_each(|device| match host.candidate(device, 0) {
            Ok(_) | Err(Refused::Because { reason: Reason::Partition { .. }, .. }) => Ok(()),
            Err(refused) => Err(refused.into()),
        })
    }

    /// The devices, if they are what the image goes to and nothing speaks against writing `need` bytes to each. Tells
    /// what was overridden, and where links lead.
    pub fn candidates(
        &self,
        destination: &Destination,
        need: u64,
        report: &Report,
    ) -> Result<Vec<Candidate>> {
        let (devices, host) = (self.devices(), self.consent.host());
        let candidates: Vec<Candidate> = devices
            .iter()
            .map(|device| candidate(&host, device, destination, need))
            .collect::<Result<_>>()?;
        for (device, candidate) in devices.iter().zip(&candidates) {
            if *device != candidate.path {
                report.note(format!("`{}` is `{}`", device.display(), candidate.path.display()));
            }
        }
        reject_twice(&candidates)?;
        self.consent.report_overridden(&candidates, report)?;
        Ok(candidates)
    }

    /// Opens the devices for writing if the user agrees and they are still those that were checked: cards are
    /// changed and cables pulled while a question waits. In the order of `candidates`. `writes` is how many bytes are
    /// written to each.
    pub fn claim(
        &self,
        candidates: &[Candidate],
        writes: Option<u64>,
        report: &Report,
    ) -> Result<Vec<Device>> {
        let doomed = candidates.iter().map(|candidate| Destruction::for_device(candidate, writes));
        let doomed: Vec<Destruction> = doomed.collect::<std::result::Result<_, _>>()?;
        let heading = match doomed.len() {
            1 => "everything on this device will be lost:".into(),
            count => format!("everything on these {count} devices will be lost:"),
        };
        let listed = doomed.iter().map(|doomed| format!("\n{doomed}").replace('\n', "\n  "));
        self.consent.confirm(&format!("{heading}{}", listed.collect::<String>()), candidates, report)?;
        let host = self.consent.host();
        candidates.iter().map(|candidate| self.consent.open(&host, candidate)).collect()
    }
}

fn candidate(host: &Host, device: &Path, destination: &Destination, need: u64) -> Result<Candidate> {
    let refuse = |reason| Err(Refused::Because { path: device.into(), reason }.into());
    let partuuid = match destination {
        Destination::Disk => return Ok(host.candidate(device, need)?),
        Destination::Nowhere => return refuse(Reason::Archive),
        Destination::Partition { partuuid } => partuuid,
    };
    let candidate = host.partition(device, need)?;
    let part = candidate.part.as_ref().expect("a partition is on a disk");
    let entry = existing(&ReadOnly::open(&part.disk)?, part.number)?;
    match existing::reject(part.partuuid.as_deref(), entry.as_ref(), partuuid.as_deref()) {
        Some(reason) => refuse(reason),
        None => Ok(candidate),
    }
}

fn reject_twice(candidates: &[Candidate]) -> Result<(), ConfirmError> {
    let mut seen = BTreeSet::new();
    match candidates.iter().find(|candidate| !seen.insert(&candidate.number)) {
        Some(candidate) => Err(ConfirmError::Twice(candidate.path.clone())),
        None => Ok(()),
    }
}

impl ConsentArgs {
    /// The machine, with what the user knows better about it.
    pub fn host(&self) -> Host {
        self.host_despite(&[])
    }

    /// The same for a verb to which some refusals do not matter.
    pub fn host_despite(&self, others: &[Override]) -> Host {
        Host::new().despite(self.overrides().into_iter().chain(others.iter().copied()).collect())
    }

    fn overrides(&self) -> Overrides {
        let device = |force: &Force| match force {
            Force::Device(word) => Some(*word),
            Force::Image(_) => None,
        };
        self.force.iter().filter_map(device).collect()
    }

    fn image_overrides(&self) -> source::Overrides {
        let image = |force: &Force| match force {
            Force::Image(word) => Some(*word),
            Force::Device(_) => None,
        };
        self.force.iter().filter_map(image).collect()
    }

    /// Fails if an objection to a ready image is overridden, where there is none.
    pub fn reject_image_overrides(&self) -> Result<(), ForceError> {
        match self.image_overrides().into_iter().next() {
            Some(word) => Err(ForceError::NoImage(word)),
            None => Ok(()),
        }
    }

    /// Warns about each refusal that was overridden; fails if `--force` overrides nothing, because then the device is
    /// not what the user thinks it is.
    pub fn report_overridden(&self, candidates: &[Candidate], report: &Report) -> Result<()> {
        let given = self.overrides();
        let mut unused = given.clone();
        for candidate in candidates {
            for reason in &candidate.overridden {
                let Some(word) = Override::for_reason(reason).filter(|word| given.contains(word)) else {
                    continue;
                };
                unused.remove(&word);
                report
                    .warn(format!("`--force {word}` overrides for `{}`: {reason}", candidate.path.display()));
            }
        }
        match unused.into_iter().next() {
            Some(word) => Err(ForceError::NothingOfDevice(word).into()),
            None => Ok(()),
        }
    }

    /// Asks once whether what `loss` lists may happen to the devices, if it was not agreed to before.
    pub fn confirm(&self, loss: &str, candidates: &[Candidate], report: &Report) -> Result<()> {
        if !self.confirm.is_empty() || self.yes {
            report.note(loss);
            return Ok(self.check_tokens(candidates)?);
        }
        let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        let (name, what) =
            (names.join(" "), if names.len() == 1 { "name of the device" } else { "names of the devices" });
        let question = format!("{loss}\ntype the {what} ({name}) to go on:");
        let device = candidates.first().map(|candidate| candidate.path.clone()).unwrap_or_default();
        match report.confirm(question, &name) {
            Answer::Yes => Ok(()),
            Answer::No => Err(ConfirmError::Declined { device, name }.into()),
            Answer::NoTerminal => {
                report.note(loss);
                let tokens: Vec<String> = candidates.iter().map(Candidate::token).collect();
                Err(ConfirmError::NoTerminal { device, token: tokens.join(" --confirm ") }.into())
            }
        }
    }

    /// With tokens each device must have one of them, and each token a device.
    fn check_tokens(&self, candidates: &[Candidate]) -> Result<(), ConfirmError> {
        let Some(given) = self.confirm.first() else { return Ok(()) };
        let tokens: Vec<String> = candidates.iter().map(Candidate::token).collect();
        for (candidate, token) in candidates.iter().zip(&tokens) {
            if !self.confirm.contains(token) {
                return Err(ConfirmError::OtherToken {
                    device: candidate.path.clone(),
                    given: given.clone(),
                });
            }
        }
        match self.confirm.iter().find(|given| !tokens.contains(given)) {
            Some(unused) => Err(ConfirmError::UnusedToken(unused.clone())),
            None => Ok(()),
        }
    }

    /// Opens what `host` has checked, and checks it again. What is in use cannot be claimed, and is only locked.
    pub fn open(&self, host: &Host, candidate: &Candidate) -> Result<Device> {
        let path = &candidate.path;
        let used = candidate.overridden.iter().any(Reason::is_use);
        let device = if used { Device::open_used(path)? } else { Device::open(path)? };
        device.ensure_is(&candidate.number, candidate.len)?;
        let len = candidate.len;
        let now = match candidate.part {
            Some(_) => host.partition_of(&candidate.number, path, len)?,
            None => host.candidate_of(&candidate.number, path, len)?,
        };
        match now.is_same(candidate) {
            true => Ok(device),
            false => Err(DeviceError::Exchanged(path.clone()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn candidate(name: &str, number: &str) -> Candidate {
        Candidate {
            path: Path::new("/dev").join(name),
            name: name.into(),
            number: number.into(),
            model: None,
            serial: None,
            sequence: None,
            len: 1 << 30,
            sector_size: 512,
            removable: true,
            bus: "usb".into(),
            partitions: Vec::new(),
            part: None,
            overridden: Vec::new(),
        }
    }

    fn told(error: ConfirmError) -> (String, String, u8) {
        let error = Error::from(error);
        (error.to_string(), error.hint().expect("a hint"), error.kind().exit_code())
    }

    #[test]
    fn each_device_is_given_once() {
        let two = [candidate("sdb", "8:16"), candidate("sdc", "8:32")];
        reject_twice(&two).expect("two devices");
        let same = [candidate("sdb", "8:16"), candidate("sdc", "8:32"), candidate("sdb", "8:16")];
        let refused = told(reject_twice(&same).expect_err("one of them twice"));
        assert_eq!(refused, ("`/dev/sdb` was given twice".into(), "give each device once".into(), 1));
    }

    #[test]
    fn each_of_several_devices_needs_its_token() {
        let two = [candidate("sdb", "8:16"), candidate("sdc", "8:32")];
        let [first, second] = two.each_ref().map(Candidate::token);
        let check = |tokens: &[&str]| {
            let confirm = tokens.iter().map(|token| token.to_string()).collect();
            ConsentArgs { yes: true, confirm, force: Vec::new() }.check_tokens(&two)
        };
        check(&[]).expect("no token is wanted");
        check(&[&second, &first]).expect("in any order");
        let hint = "another device may be in its place; `skiff-image devices` lists them with their tokens";
        let refused = told(check(&[&first]).expect_err("the other has none"));
        assert_eq!(
            refused,
            (format!("`/dev/sdc` was not written: its token is not `{first}`"), hint.into(), 4)
        );
        let refused = told(check(&[&first, &second, "0000-0000"]).expect_err("one too many"));
        assert_eq!(refused, ("no device that was given has the token `0000-0000`".into(), hint.into(), 4));
    }
}
