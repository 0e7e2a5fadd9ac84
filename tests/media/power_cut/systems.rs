//! Small systems that are composed in the test, in an older and a newer version with the same ids.

use std::fs;
use std::path::Path;

use skiff_image::board::{Board, DescriptorSource, NoFamilies};
use skiff_image::compose::Composition;
use skiff_image::demo;
use skiff_image::event::Silent;
use skiff_image::flash::FlashOptions;
use skiff_image::fs::squashfs::Resources;
use skiff_image::layer::{self, Environment};
use skiff_image::persist::PreSeed;
use skiff_image::rootfs::{Handoff, Output};
use skiff_image::stage::{Inputs, TemplateVariables};
use skiff_image::storage::{CowMemory, Record, Target};
use skiff_image::tree::scan::HostXattrs;
use skiff_image::value::Seed;

/// A table, and blobs before it, in it and behind it, as boot ROMs want them.
pub const MBR: &str = r#"
description = "Boot code in sector 0 and behind it, a loader at 8 KiB"
status = "boots nothing"
arch = ["arm64"]
root = "none"

[table]
kind = "mbr"

[[blob]]
name = "first stage"
files = ["first.bin"]
offset = "0 B"
skip = [["440 B", "512 B"]]

[[blob]]
name = "loader"
files = ["loader.bin"]
offset = "8 KiB"
magic = { at = 4, text = "DEMO.LDR" }

[[partition]]
name = "boot"
size = "4 MiB"
filesystem = "ext4"
label = "boot"
file = [{ image = "Image" }]

[[partition]]
name = "system"
size = "fit"
filesystem = "squashfs"
codec = "zstd:1"

[[partition]]
name = "persist"
size = "rest"
minimum = "2 MiB"
filesystem = "ext4"
label = "persist"
"#;

/// The same without blobs, in a GPT.
pub const GPT: &str = r#"
description = "A GPT"
status = "boots nothing"
arch = ["arm64"]
root = "none"

[table]
kind = "gpt"

[[partition]]
name = "boot"
size = "4 MiB"
filesystem = "ext4"
label = "boot"
file = [{ image = "Image" }]

[[partition]]
name = "system"
size = "fit"
filesystem = "squashfs"
codec = "zstd:1"

[[partition]]
name = "persist"
size = "rest"
minimum = "2 MiB"
filesystem = "ext4"
label = "persist"
"#;

/// A filesystem for a partition, with the kernel in it.
pub const EXT4: &str = r#"
description = "One filesystem"
status = "boots nothing"
arch = ["arm64"]
root = "none"

[table]
kind = "none"

[[partition]]
name = "SKIFFOS"
size = "rest"
minimum = "4 MiB"
filesystem = "ext4"
label = "SKIFFOS"
file = [{ image = "Image" }]
"#;

/// A FAT32 for a partition.
pub const FAT: &str = r#"
description = "One FAT"
status = "boots nothing"
arch = ["arm64"]
root = "none"

[table]
kind = "none"

[[partition]]
name = "boot"
size = "rest"
minimum = "33 MiB"
filesystem = "fat32"
label = "boot"
file = [{ image = "Image" }]
"#;

/// Versions of a system.
#[derive(Clone, Copy)]
pub enum Version {
    Old,
    New,
}

/// A system with the files that it is composed of.
pub struct System {
    pub composition: Composition,
    _directory: tempfile::TempDir,
}

/// The system of a board for a medium of `len` bytes.
pub fn compose(board: &str, version: Version, len: u64) -> System {
    let directory = tempfile::tempdir().expect("a directory");
    let made = demo::write(directory.path()).expect("writes");
    shrink(directory.path(), version);
    let roots = layer::Roots { configs: made.layers, ..layer::Roots::for_project(directory.path()) };
    let chain = layer::discover(&Environment::default(), &roots).expect("layers");
    let layers = chain.resolve(made.chain, "demo").expect("a chain");
    let source = DescriptorSource { file: "board.toml", text: board };
    let board = Board::parse("demo/cut", source, &NoFamilies).expect("a board");
    let (arch, images) = (board.pick_arch(None).expect("one"), made.output.join("images"));
    let variables = TemplateVariables::new(&board, arch, &Seed("demo".into()), &images, None).expect("words");
    let inputs = Inputs {
        slots: None,
        arch,
        board: variables.fill(board).expect("filled"),
        variables,
        layers,
        images,
        output: Output::read(&made.output, Handoff::Target).expect("an output"),
        seed: Seed("demo".into()),
        partuuid: None,
        timestamp: 1_704_067_200,
        host_xattrs: HostXattrs::Omit,
        preseed: PreSeed::default(),
        // One after the other, so that the recorded operations are the same each time.
        resources: Resources { threads: 1, ..Resources::default() },
    };
    let composition = Composition::new(&inputs, inputs.stage().expect("stages"), Some(len)).expect("fits");
    System { composition, _directory: directory }
}

/// Less than the demo has, and other bytes in each version.
fn shrink(directory: &Path, version: Version) {
    let seed = match version {
        Version::Old => 3_u32,
        Version::New => 7,
    };
    let noise = |len: u32| (0..len).map(|at| (at.wrapping_mul(at ^ seed) >> 3) as u8).collect::<Vec<u8>>();
    let write = |name: &str, len| {
        let path = directory.join("output").join(name);
        fs::write(path, noise(len)).expect("writes");
    };
    write("images/Image", 600_000);
    write("images/first.bin", 5_000);
    for (name, len) in [("usr/bin/app", 90_000), ("usr/share/model.bin", 250_000)] {
        write(&format!("target/{name}"), len);
    }
    let mut loader = noise(50_000);
    loader[4..12].copy_from_slice(b"DEMO.LDR");
    fs::write(directory.join("output/images/loader.bin"), loader).expect("writes");
    fs::remove_dir_all(directory.join("output/target/usr/lib/modules")).expect("removes");
}

/// Writes a system onto a medium that may hold another one.
pub fn flash(system: &System, target: &dyn Target) -> skiff_image::Result<Record> {
    flash_with(system, target, FlashOptions::default())
}

/// The same in another way.
pub fn flash_with(
    system: &System,
    target: &dyn Target,
    options: FlashOptions,
) -> skiff_image::Result<Record> {
    alone(|| Ok(system.composition.run(target, true, &Silent, options)?.1.record))
}

/// Runs with a single thread.
pub fn alone<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    pool.install(run)
}

/// A medium of `len` bytes that was used for other things before `board`'s older version was written to it.
pub fn older(board: &str, len: u64) -> CowMemory {
    let sector_size = if board.contains("sector-size = 4096") { 4096 } else { 512 };
    let medium = CowMemory::new(len, sector_size);
    let garbage: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 241) as u8 | 0x80).collect();
    for at in (0..len).step_by(garbage.len()) {
        let count = garbage.len().min((len - at) as usize);
        medium.write_at(&garbage[..count], at).expect("inside");
    }
    flash(&compose(board, Version::Old, len), &medium).expect("flashes");
    medium
}
