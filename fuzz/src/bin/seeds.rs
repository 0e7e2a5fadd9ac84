//! Writes the seeds of all fuzz targets below `corpus/`, where `cargo fuzz` looks for them.

use std::fs;
use std::io;
use std::path::Path;

use skiff_image_fuzz::{parsers::PARSERS, seeds::seeds};

fn main() -> io::Result<()> {
    for (name, _) in PARSERS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        fs::create_dir_all(&directory)?;
        for (index, seed) in seeds(name).iter().enumerate() {
            fs::write(directory.join(format!("seed-{index}")), seed)?;
        }
    }
    Ok(())
}
