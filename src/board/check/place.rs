//! Files that are put on something, and where they come from.

use super::Checker;
use crate::board::raw::{OneOrMany, RawKeep, RawPlace};
use crate::board::{BoardError, ContentSource, FilePlacement};

impl Checker<'_> {
    pub(super) fn places(&self, place: &str, raw: Vec<RawPlace>) -> Result<Vec<FilePlacement>, BoardError> {
        raw.into_iter().map(|file| self.place(place, file)).collect()
    }

    /// The one source that a file names.
    fn source(&self, place: &str, raw: &RawPlace) -> Result<ContentSource, BoardError> {
        let exclude = || raw.exclude.clone().unwrap_or_default();
        let image = raw.image.as_ref().map(|image| match image {
            OneOrMany::One(name) => ContentSource::Images(vec![name.clone()]),
            OneOrMany::Many(names) => ContentSource::Images(names.clone()),
        });
        let sources = [
            image.filter(|image| *image != ContentSource::Images(Vec::new())),
            raw.tree.clone().map(|tree| ContentSource::ImagesTree { tree, exclude: exclude() }),
            raw.artifact.clone().map(ContentSource::Artifact),
            raw.directory.as_ref().map(|_| ContentSource::Directory),
            raw.root.clone().map(|path| ContentSource::Root { path, exclude: exclude() }),
            raw.text.clone().map(ContentSource::Text),
            raw.link.clone().map(ContentSource::Link),
        ];
        let mut given = sources.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(from), None) => Ok(from),
            _ => {
                let problem = "a file needs exactly one of `image`, `tree`, `artifact`, `directory`, `root`, \
                               `text` and `link`";
                Err(self.invalid(place, problem))
            }
        }
    }

    fn mode(&self, place: &str, from: &ContentSource, mode: Option<&str>) -> Result<Option<u32>, BoardError> {
        let Some(text) = mode else { return Ok(None) };
        if matches!(
            from,
            ContentSource::ImagesTree { .. } | ContentSource::Root { .. } | ContentSource::Link(_)
        ) {
            return Err(self.invalid(place, "`mode` means nothing for `tree`, `root` and `link`"));
        }
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(Some(mode)),
            _ => Err(self.invalid(place, format!("mode `{text}` is not octal up to 7777"))),
        }
    }

    fn place(&self, place: &str, raw: RawPlace) -> Result<FilePlacement, BoardError> {
        let from = self.source(place, &raw)?;
        if raw.exclude.is_some()
            && !matches!(from, ContentSource::ImagesTree { .. } | ContentSource::Root { .. })
        {
            return Err(self.invalid(place, "`exclude` means nothing but for `tree` and `root`"));
        }
        let mode = self.mode(place, &from, raw.mode.as_deref())?;
        let to = match (&from, raw.to, raw.directory) {
            (ContentSource::Directory, None, Some(path)) => path,
            (ContentSource::Directory, Some(_), _) => {
                return Err(self.invalid(place, "`to` means nothing beside `directory`"));
            }
            (ContentSource::Images(names), None, _) if names.len() > 1 => {
                return Err(self.invalid(place, "several candidates in `image` need `to`"));
            }
            (ContentSource::Images(names), None, _) if names[0].contains('*') => "/".into(),
            (ContentSource::Images(names), None, _) => format!("/{}", base_name(&names[0])),
            (ContentSource::Artifact(name), None, _) => format!("/{name}"),
            (ContentSource::ImagesTree { .. }, None, _) => "/".into(),
            (ContentSource::Root { path, .. }, None, _) => path.clone(),
            (ContentSource::Text(_) | ContentSource::Link(_) | ContentSource::SlotState, None, _) => {
                return Err(self.invalid(place, "`text` and `link` need `to`"));
            }
            (_, Some(to), _) => to,
            (ContentSource::Directory, None, None) => unreachable!("a directory place has a path"),
        };
        let keep = raw.update == Some(RawKeep::Keep);
        let (slots, slot_name) = (raw.slots, raw.slot_name);
        Ok(FilePlacement { arch: raw.arch, slots, slot_name, from, to, mode, optional: raw.optional, keep })
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
