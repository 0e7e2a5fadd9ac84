//! Files of the images directory that a board needs and nothing makes.

use super::makers::Makers;
use super::{Foreseen, Subject};
use crate::board::{BlobSource, Board, ContentSource, FilePlacement, Filesystem, Recipe};
use crate::error::Result;
use crate::stage::TemplateVariables;
use crate::value::Arch;

/// Names that one sentence has.
const SHOWN: usize = 3;

/// A file or directory that must be there, as the names of which the first is taken.
struct Wanted<'b> {
    names: &'b [String],
    hint: Option<&'b str>,
}

/// One for each advice.
pub(super) fn missing(subject: &Subject<'_>, board: &Board, arch: Arch) -> Result<Vec<Foreseen>> {
    let board = TemplateVariables::assumed(board, arch)?.fill(board.clone())?;
    let mut makers = Makers::new(subject)?;
    let mut lacking: Vec<(Option<String>, Vec<&str>)> = Vec::new();
    for Wanted { names, hint } in wanted(&board, arch) {
        let mut is_there = false;
        for name in names {
            is_there = is_there || subject.images.0.join(name).exists() || makers.make(name)?;
        }
        if is_there {
            continue;
        }
        let supplied = board.supplied_by(names).map(|supplied| supplied.hint.as_str());
        let hint = supplied.or(hint).map(str::to_owned);
        match lacking.iter_mut().find(|(known, _)| *known == hint) {
            Some((_, files)) if files.contains(&names[0].as_str()) => {}
            Some((_, files)) => files.push(&names[0]),
            None => lacking.push((hint, vec![&names[0]])),
        }
    }
    let images = subject.images.1.display();
    let told = lacking.into_iter().map(|(hint, files)| {
        let hint = hint.unwrap_or_else(|| "add a package or a hook that makes it".into());
        Foreseen::new(
            format!("`assemble` needs {}, which nothing makes that is selected", listed(&files)),
            format!("{hint}; its place is `{images}`"),
        )
    });
    Ok(told.collect())
}

fn listed(files: &[&str]) -> String {
    let shown: Vec<String> = files.iter().take(SHOWN).map(|file| format!("`{file}`")).collect();
    match files.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// All that must be there for an architecture, in the order of the descriptor.
fn wanted(board: &Board, arch: Arch) -> Vec<Wanted<'_>> {
    let mut found = Vec::new();
    for artifact in board.artifacts.iter().filter(|artifact| artifact.arch.covers(arch)) {
        found.extend(of_places(artifact.recipe.files(), arch));
        if let Recipe::GrubBoot { directory } | Recipe::GrubCore { directory, .. } = &artifact.recipe {
            found.push(Wanted { names: std::slice::from_ref(directory), hint: None });
        }
    }
    for blob in board.blobs.iter().filter(|blob| !blob.optional) {
        if let BlobSource::Images(names) = &blob.source {
            found.push(Wanted { names, hint: blob.hint.as_deref() });
        }
    }
    for partition in &board.partitions {
        found.extend(of_places(&partition.files, arch));
        if let Filesystem::Raw { images, optional: false } = &partition.filesystem {
            found.push(Wanted { names: images, hint: None });
        }
    }
    found
}

fn of_places(places: &[FilePlacement], arch: Arch) -> impl Iterator<Item = Wanted<'_>> {
    let needed = places.iter().filter(move |place| place.arch.covers(arch) && !place.optional);
    needed.filter_map(|place| match &place.from {
        ContentSource::Images(names) => Some(Wanted { names, hint: None }),
        ContentSource::ImagesTree { tree, .. } => {
            Some(Wanted { names: std::slice::from_ref(tree), hint: None })
        }
        _ => None,
    })
}
