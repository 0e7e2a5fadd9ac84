//! Readers of foreign bytes return on any input: the seeds of the fuzz targets, changed seeds, and what fuzzing found.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::harness::trees::Random;

#[path = "../../fuzz/src/parsers.rs"]
mod parsers;
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;

use parsers::{PARSERS, Parser};

/// Changed inputs for each seed.
const CHANGED: usize = 40;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// A copy with some bytes changed, removed or said twice.
fn changed(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len().max(1) as u32) as usize;
        match random.below(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 => bytes.extend_from_within(at.min(bytes.len())..bytes.len().min(at + 64)),
            _ => drop(bytes.drain(at.min(bytes.len())..bytes.len().min(at + 16))),
        }
    }
    bytes
}

/// Runs a reader, and fails the test if it panics or does not come back.
fn expect_return(name: &str, parser: Parser, inputs: Vec<(String, Vec<u8>)>) {
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || {
        for (input, bytes) in inputs {
            sender.send(input).expect("the test waits");
            parser(&bytes);
        }
    });
    let mut last = String::new();
    loop {
        match receiver.recv_timeout(Duration::from_secs(300)) {
            Ok(input) => last = input,
            Err(RecvTimeoutError::Timeout) => panic!("{name} does not return on {last}"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    assert!(thread.join().is_ok(), "{name} panics on {last}");
}

#[test]
fn readers_return_on_seeds_and_changed_seeds() {
    for (name, parser) in PARSERS {
        let seeds = seeds::seeds(name);
        assert!(!seeds.is_empty(), "{name} has seeds");
        let mut random = Random(7);
        let mut inputs = vec![("nothing".into(), Vec::new())];
        for (index, seed) in seeds.into_iter().enumerate() {
            let copies: Vec<_> = (0..CHANGED).map(|_| changed(&seed, &mut random)).collect();
            inputs.push((format!("seed {index}"), seed));
            inputs
                .extend(copies.into_iter().map(|bytes| (format!("changed seed {index}: {bytes:x?}"), bytes)));
        }
        expect_return(name, parser, inputs);
    }
}

#[test]
fn readers_return_on_what_fuzzing_found() {
    let is_directory = |entry: &fs::DirEntry| entry.path().is_dir();
    let found = fs::read_dir(fuzz().join("found")).expect("inputs that were found");
    for entry in found.flatten().filter(is_directory) {
        let name = entry.file_name().into_string().expect("a plain name");
        let parser = PARSERS.iter().find(|(known, _)| *known == name).expect("a fuzz target of this name").1;
        let files = fs::read_dir(entry.path()).expect("a directory").flatten();
        let input = |path: PathBuf| (path.display().to_string(), fs::read(path).expect("a file"));
        expect_return(&name, parser, files.map(|file| input(file.path())).collect());
    }
}

#[test]
fn every_reader_is_a_fuzz_target() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("a manifest");
    for (name, _) in PARSERS {
        let entry = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&entry), "{entry}");
        let code = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).expect("a fuzz target");
        assert!(code.contains(&format!("run(\"{name}\", bytes)")), "{code}");
    }
    let files = fs::read_dir(fuzz().join("fuzz_targets")).expect("a directory").count();
    assert_eq!(files, PARSERS.len());
}
