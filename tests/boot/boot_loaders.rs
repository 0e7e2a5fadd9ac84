//! Boards with their real boot loaders, as far as Debian has them: each is recognised, fits, and is read back from
//! where the board looks for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::board::every::for_boards;
use crate::harness::board::readback;
use crate::harness::board::readback::Readback;
use crate::harness::board::synthetic::Synthetic;
use crate::harness::disk;
use crate::harness::tools::run;
use skiff_image::board::Proof;

/// The boot loaders, by board, made once.
fn boot_loaders() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = root.join("target/fixtures");
    let mut fixture = Command::new(root.join("fixtures/debian-blobs"));
    run(fixture.arg(base.join("blobs")).arg("--cache").arg(base.join("cache")));
    base.join("blobs")
}

/// Puts the files below `directory` in the place of made-up ones.
fn replace_images(synthetic: &Synthetic, directory: &Path) {
    let files: Vec<_> =
        disk::contents(directory).into_iter().filter(|(path, _)| directory.join(path).is_file()).collect();
    assert!(!files.is_empty(), "no boot loader in {}", directory.display());
    for (path, (_, bytes)) in files {
        let name = path.to_str().expect("a plain name");
        assert!(synthetic.remove_alternatives(name), "the board does not look for `{name}`");
        synthetic.write_image(name, &bytes);
    }
}

#[test]
fn boards_take_their_real_boot_loaders() {
    if !disk::oracles("boards_take_their_real_boot_loaders", &readback::TOOLS) {
        return;
    }
    let loaders = boot_loaders();
    let proven = |proof: &Proof| matches!(proof, Proof::BootLoader(_));
    for_boards(
        |board| board.proof.iter().any(proven),
        |board, arch| {
            let synthetic = Synthetic::new(board.clone(), arch);
            replace_images(&synthetic, &loaders.join(&board.name));
            run(synthetic.command(&["--quiet", "assemble", "--out", "disk.img"]).args(synthetic.minimum()));
            Readback::new(&synthetic, "disk.img").expect_all();
        },
    );
}
