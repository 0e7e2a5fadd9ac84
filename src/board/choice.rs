//! `image.toml` of a layer: how images are made, where a layer knows better than the board's descriptor.
//!
//! ```toml
//! [squashfs]              # of every squashfs of the board
//! codec = "zstd:tuned"
//! block = "128 KiB"
//! ```

use serde::Deserialize;

use super::check::Checker;
use super::error::toml_error;
use super::{Board, BoardError, Filesystem, Recipe};
use crate::error::{Io, Result};
use crate::fs::squashfs::Codec;
use crate::layer::Layer;
use crate::value::ByteSize;

/// Name of the file in a layer.
pub const FILE: &str = "image.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    squashfs: Squashfs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Squashfs {
    codec: Option<Codec>,
    block: Option<ByteSize>,
}

impl Board {
    /// Applies what layers say, each over the ones before it.
    pub fn choose(&mut self, layers: &[Layer]) -> Result<()> {
        for path in layers.iter().filter_map(|layer| layer.file(FILE)) {
            let text = std::fs::read_to_string(&path).map_err(Io::on("read", &path))?;
            self.apply(&parse(&path.display().to_string(), &text)?.squashfs);
        }
        Ok(())
    }

    fn apply(&mut self, choice: &Squashfs) {
        let artifacts = self.artifacts.iter_mut().filter_map(|artifact| match &mut artifact.recipe {
            Recipe::Squashfs { codec, block, .. } => Some((codec, block)),
            _ => None,
        });
        let partitions = self.partitions.iter_mut().filter_map(|partition| match &mut partition.filesystem {
            Filesystem::Squashfs { codec, block } => Some((codec, block)),
            _ => None,
        });
        for (codec, block) in artifacts.chain(partitions) {
            *codec = choice.codec.unwrap_or(*codec);
            *block = choice.block.unwrap_or(*block);
        }
    }
}

fn parse(file: &str, text: &str) -> Result<Choice, BoardError> {
    let choice: Choice = toml::from_str(text).map_err(|error| toml_error(file, text, &error))?;
    Checker { file }.block("squashfs", choice.squashfs.block)?;
    Ok(choice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{DescriptorSource, NoFamilies};

    #[test]
    fn mistakes_are_told_with_their_place() {
        let message = |text: &str| parse("configs/a/b/image.toml", text).unwrap_err().to_string();
        assert_eq!(
            message("[squashfs]\ncodek = \"lz4\"\n"),
            "`configs/a/b/image.toml:2:1`: unknown field `codek`, expected `codec` or `block`"
        );
        assert!(message("[squashfs]\ncodec = \"zstd:23\"\n").contains("`zstd` has no level 23"));
    }

    #[test]
    fn a_choice_holds_for_every_squashfs_and_what_it_does_not_say_stays() {
        let text = include_str!("../../fixtures/demo/board.toml");
        let source = DescriptorSource { file: "fixtures/demo/board.toml", text };
        let mut board = Board::parse("demo/board", source, &NoFamilies).expect("a board");
        let choice = parse("image.toml", "[squashfs]\ncodec = \"lz4\"\n").expect("valid");
        board.apply(&choice.squashfs);
        let artifacts = board.artifacts.iter().filter_map(|artifact| match artifact.recipe {
            Recipe::Squashfs { codec, block, .. } => Some((codec, block)),
            _ => None,
        });
        let partitions = board.partitions.iter().filter_map(|partition| match partition.filesystem {
            Filesystem::Squashfs { codec, block } => Some((codec, block)),
            _ => None,
        });
        let default = ByteSize(crate::fs::squashfs::DEFAULT_BLOCK_SIZE.into());
        let chosen: Vec<(Codec, ByteSize)> = artifacts.chain(partitions).collect();
        assert_eq!(chosen, [(Codec::Lz4 { hc: false }, default); 2]);
    }
}
