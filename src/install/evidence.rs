//! Finds out for which board a medium is: from the chain of layers that its system was built from, its device trees,
//! and the places of its partitions; the first that says something counts.

use std::collections::BTreeSet;

use super::InstallError;
use super::marker::Marker;
use super::prepare::{Case, InstallOptions};
use super::survey::SurveyedMedium;
use crate::board::{Board, Registry};
use crate::error::Result;
use crate::recognize::release::assigned;
use crate::storage::Target;

/// Nothing, or what speaks against the board.
type Verdict = Result<(), String>;

/// Fails if the medium is for another board.
pub(super) fn reject_other_board(
    target: &dyn Target,
    board: &Board,
    medium: &SurveyedMedium,
    cases: &[Case<'_>],
    options: &InstallOptions,
) -> Result<()> {
    let mut verdicts: Vec<Verdict> =
        medium.unfinished.iter().map(|marker| of_marker(marker, board)).collect();
    for case in cases {
        verdicts.extend(of_chain(case, board)?);
    }
    for case in cases {
        verdicts.extend(of_device_trees(case)?);
    }
    verdicts.push(of_places(medium));
    match verdicts.swap_remove(0).err().filter(|_| !options.other_board) {
        None => Ok(()),
        Some(evidence) => {
            let (target, board) = (target.name().to_owned(), board.name.clone());
            Err(InstallError::OtherBoard { target, board, evidence }.into())
        }
    }
}

fn of_marker(marker: &Marker, board: &Board) -> Verdict {
    match marker.board == board.name {
        true => Ok(()),
        false => Err(format!("the update that is unfinished on it is for board `{}`", marker.board)),
    }
}

/// Reads the file that names the system, if it is there and names boards.
fn of_chain(case: &Case<'_>, board: &Board) -> Result<Option<Verdict>> {
    let Some(path) = case.release() else { return Ok(None) };
    let text = case.files.text(&path)?;
    let Some(chain) = text.as_deref().and_then(|text| assigned(text, "BUILD_CONFIG")) else {
        return Ok(None);
    };
    let names: Vec<&str> = chain.split([',', ' ']).map(str::trim).collect();
    if names.contains(&board.name.as_str()) {
        return Ok(Some(Ok(())));
    }
    let registry = Registry::built_in();
    let other = names.iter().rev().find(|name| registry.contains(name));
    Ok(other.map(|other| Err(format!("its `{path}` says that it was built for `{other}`"))))
}

/// Reads what the device trees say, if the board has some.
fn of_device_trees(case: &Case<'_>) -> Result<Option<Verdict>> {
    let ours: BTreeSet<&str> =
        case.expected.iter().map(|file| file.path.as_str()).filter(|path| path.ends_with(".dtb")).collect();
    let Some(our) = ours.first() else { return Ok(None) };
    let directory = our.rsplit_once('/').map_or("", |(directory, _)| directory);
    let names = case.files.names_in(if directory.is_empty() { "/" } else { directory })?;
    let theirs = names.iter().filter(|name| name.ends_with(".dtb"));
    let theirs: BTreeSet<String> = theirs.map(|name| format!("{directory}/{name}")).collect();
    let Some(their) = theirs.first() else { return Ok(None) };
    Ok(Some(match theirs.iter().any(|path| ours.contains(path.as_str())) {
        true => Ok(()),
        false => Err(format!("it has the device tree `{their}`, but not `{our}`")),
    }))
}

fn of_places(medium: &SurveyedMedium) -> Verdict {
    match medium.in_place {
        true => Ok(()),
        false => Err("none of its partitions begins where those of the board do".into()),
    }
}
