//! Media that are written, and what speaks against writing an image to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::force::ForceError;
use crate::device::Candidate;
use crate::error::Result;
use crate::report::Report;
use crate::source::{Comparison, Image, Overrides, Source};
use crate::storage::{Geometry, Target};

/// A medium that is to be written.
pub enum Medium {
    /// One that is not there.
    Simulated(Arc<dyn Target>),
    /// A device.
    Device(Box<Candidate>),
}

impl Medium {
    pub fn name(&self) -> String {
        match self {
            Medium::Simulated(target) => target.name().into(),
            Medium::Device(candidate) => candidate.path.display().to_string(),
        }
    }

    pub fn geometry(&self) -> Geometry {
        match self {
            Medium::Simulated(target) => target.geometry(),
            Medium::Device(device) => Geometry { len: device.len, sector_size: device.sector_size },
        }
    }
}

/// Compares an image with the media. Warns of what is overridden; fails if that is nothing.
pub fn examine(image: &Image, media: &[Medium], overrides: &Overrides, report: &Report) -> Result<()> {
    let (mut unused, mut warnings) = (overrides.clone(), BTreeSet::new());
    for medium in media {
        let Comparison { objections, remarks } = image.examine(&medium.name(), medium.geometry())?;
        for objection in objections {
            let word = objection.overridden_by();
            unused.remove(&word);
            warnings.insert(format!("`--force {word}` overrides for `{}`: {objection}", image.name()));
        }
        warnings.extend(remarks);
    }
    warnings.iter().for_each(|warning| report.warn(warning));
    match unused.into_iter().next() {
        // The end of a stream says what is true.
        Some(word) if image.is_seekable() => Err(ForceError::Nothing(word).into()),
        _ => Ok(()),
    }
}
