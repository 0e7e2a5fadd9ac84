use skiff_disk::error::Diagnostic as _;
use skiff_disk::value::{Arch, Digest};

use super::*;
use crate::keys::tests::{public, root, sign, signed_root};
use crate::keys::{Root, SignedRoot};
use crate::statement::{File, STATEMENT_NAMESPACE, Statement, Sum};

/// Bytes that repeat nowhere, the same in each run.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What a bundle in a test is made of.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) statement: Statement,
    pub(crate) contents: Vec<Vec<u8>>,
    /// Bytes of its blocks, the last one of a file being shorter.
    pub(crate) block: usize,
    /// Bytes of the blocks of each file; empty for blocks of equal length.
    pub(crate) cuts: Vec<Vec<usize>>,
    pub(crate) roots: Vec<SignedRoot>,
    pub(crate) signers: Vec<u8>,
}

impl Sample {
    /// A system with a kernel and an image.
    pub(crate) fn new(seed: u64, sequence: u64) -> Sample {
        let contents = vec![noise(seed, 5000), noise(seed + 1000, 20_000)];
        let statement = Statement {
            boards: vec!["maker/small".into()],
            arch: Arch::Arm64,
            loaders: vec!["uboot-fat".into()],
            version: format!("{sequence}.0"),
            sequence,
            epoch: 1,
            agent: 1,
            roots: Sum::default(),
            index: Sum::default(),
            files: Vec::new(),
        };
        Sample { statement, contents, block: 4096, cuts: Vec::new(), roots: Vec::new(), signers: vec![1] }
    }

    /// The statement, with sums of what there is, and the index.
    fn stated(&self) -> (Statement, Vec<u8>) {
        let blocks: Vec<(usize, BlockId)> =
            (0..self.contents.len()).flat_map(|file| self.blocks(file)).collect();
        let index = Index::encode(blocks.iter().map(|(len, id)| (*len, id)));
        let mut statement = self.statement.clone();
        statement.index = Sum::of(&index);
        statement.roots = Parts::roots_sum(&self.roots);
        let names = ["kernel", "rootfs.squashfs"].into_iter().zip(&self.contents);
        statement.files =
            names.map(|(name, bytes)| File { name: name.into(), sum: Sum::of(bytes) }).collect();
        (statement, index)
    }

    fn blocks(&self, file: usize) -> Vec<(usize, BlockId)> {
        let mut rest = &self.contents[file][..];
        let mut cuts = self.cuts.get(file).map(Vec::as_slice).unwrap_or_default().iter();
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            let len = cuts.next().copied().unwrap_or(self.block).min(rest.len());
            let (block, behind) = rest.split_at(len);
            blocks.push((len, BlockId::of(block)));
            rest = behind;
        }
        blocks
    }

    pub(crate) fn with_contents(self, contents: Vec<Vec<u8>>) -> Sample {
        Sample { contents, ..self }
    }

    pub(crate) fn parts(&self) -> Parts {
        let (statement, index) = self.stated();
        let text = statement.to_text();
        let signatures: Vec<_> =
            self.signers.iter().map(|number| sign(*number, STATEMENT_NAMESPACE, text.as_bytes())).collect();
        Parts::new(&self.roots, &statement, &signatures, index)
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        [self.parts().to_bytes(Kind::Bundle), self.contents.concat()].concat()
    }
}

/// A root with key 1 alone.
pub(crate) fn trusted() -> Root {
    root(1, (1, 1), &[1], &[])
}

/// Reads all of a bundle, and what a device would have written until an error.
fn read(mut bundle: &[u8], root: &Root) -> (Vec<u8>, Result<Head, BundleError>) {
    let mut written = Vec::new();
    let result = Head::read(&mut bundle, root).and_then(|head| {
        let mut payload = Payload::new(&mut bundle, &head);
        let mut out = Vec::new();
        for block in head.index.blocks() {
            payload.next(block, &mut out)?;
            written.extend_from_slice(&out);
        }
        payload.end()?;
        Ok(head)
    });
    (written, result)
}

fn refusal(bundle: &[u8], root: &Root) -> String {
    let (_, result) = read(bundle, root);
    let error = result.expect_err("it is refused");
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

#[test]
fn a_bundle_is_read_as_it_was_written() {
    let sample = Sample::new(1, 7);
    let (written, head) = read(&sample.bundle(), &trusted());
    let head = head.expect("it is whole");
    assert_eq!(written, sample.contents.concat());
    assert_eq!((head.statement.sequence, head.kind, head.index.blocks().len()), (7, Kind::Bundle, 7));
    let places: Vec<_> =
        head.index.blocks()[1..3].iter().map(|block| (block.file, block.offset, block.len)).collect();
    assert_eq!(places, [(0, 4096, 904), (1, 0, 4096)]);
    assert_eq!(Head::stored(&head.to_stored(), &trusted()).expect("what is kept"), head);
}

/// No bit before the payload can be changed, and of a changed payload nothing is written from the change on.
#[test]
fn any_changed_byte_is_refused() {
    let sample = Sample::new(1, 7);
    let bundle = sample.bundle();
    let payload = bundle.len() - 25_000;
    for at in (0..payload).chain((payload..bundle.len()).step_by(97)) {
        let bits = if at < payload { 0..8 } else { 0..1 };
        for bit in bits {
            let mut changed = bundle.clone();
            changed[at] ^= 1 << bit;
            let (written, result) = read(&changed, &trusted());
            assert!(result.is_err(), "bit {bit} of byte {at}");
            assert!(
                written.len() <= at.saturating_sub(payload),
                "byte {at}: {} bytes written",
                written.len()
            );
            assert_eq!(written, bundle[payload..payload + written.len()], "byte {at}");
        }
    }
}

#[test]
fn a_bundle_that_was_cut_off_says_where() {
    let bundle = Sample::new(1, 7).bundle();
    let every_4k = (0..bundle.len()).step_by(4096);
    for len in every_4k.chain(0..200).chain(bundle.len() - 3..bundle.len()) {
        let text = refusal(&bundle[..len], &trusted());
        assert!(text.starts_with("the bundle ends in "), "{len} bytes: {text}");
    }
    assert_eq!(refusal(b"", &trusted()), "the bundle ends in the prefix, after 0 of 48 bytes of it");
    assert_eq!(
        refusal(&bundle[..bundle.len() - 1], &trusted()),
        "the bundle ends in the payload, after 24999 of 25000 bytes of it"
    );
    assert_eq!(
        refusal(&[&bundle[..], b"\0"].concat(), &trusted()),
        "something follows the end of the bundle"
    );
}

#[test]
fn files_that_changed_places_are_refused() {
    let mut sample = Sample::new(1, 7);
    sample.contents[1].truncate(5000);
    let bundle = sample.bundle();
    let head = bundle.len() - 10_000;
    let (kernel, image) = bundle[head..].split_at(5000);
    let swapped = [&bundle[..head], image, kernel].concat();
    assert_eq!(
        refusal(&swapped, &trusted()),
        "the block at byte 0 of `kernel` is not the one that was signed: its digest is another one"
    );
    // The index of another bundle is not the one of this statement.
    let other = Parts { index: Sample::new(2, 7).parts().index, ..Sample::new(1, 7).parts() };
    assert_eq!(
        refusal(&other.to_bytes(Kind::Bundle), &trusted()),
        "the index is not the one that was signed: its digest is another one"
    );
}

#[test]
fn what_is_no_bundle_says_so() {
    let bundle = Sample::new(1, 7).bundle();
    assert_eq!(refusal(&[7; 100], &trusted()), "this is no bundle: it does not begin with `skiff-update`");
    let mut changed = bundle.clone();
    changed[40] = 1;
    let text = refusal(&changed, &trusted());
    assert!(text.starts_with("the prefix is damaged: its CRC-32 is "), "{text}");
    let with_sum = |change: fn(&mut [u8])| {
        let mut prefix: Vec<u8> = bundle[..PREFIX_LEN].to_vec();
        change(&mut prefix);
        let sum = crc32fast::hash(&prefix[..PREFIX_LEN - 4]);
        prefix[PREFIX_LEN - 4..].copy_from_slice(&sum.to_be_bytes());
        refusal(&prefix, &trusted())
    };
    assert_eq!(with_sum(|prefix| prefix[13] = 2), "the bundle has format 2, this program reads format 1");
    assert_eq!(with_sum(|prefix| prefix[16] = 1), "the list of roots has 16 MiB, 1 MiB are the most");
    assert_eq!(
        with_sum(|prefix| prefix[28] = 1),
        "the index has 16.0 MiB (16777356 bytes), 4 MiB are the most"
    );
}

#[test]
fn an_index_that_does_not_fit_the_files_is_refused() {
    let files = [File { name: "kernel".into(), sum: Sum { len: 100, blake3: Digest::default() } }];
    let id = BlockId::of(b"");
    let message = |lens: &[usize]| {
        let bytes = Index::encode(lens.iter().map(|len| (*len, &id)));
        Index::parse(&bytes, &files).unwrap_err().to_string()
    };
    let wrong = "the index is impossible: ";
    assert_eq!(message(&[60]), format!("{wrong}it ends at byte 60 of the 100 of `kernel`"));
    assert_eq!(message(&[60, 40, 1]), format!("{wrong}it has 1 blocks more than the files"));
    assert_eq!(
        message(&[60, 41]),
        format!("{wrong}the block at byte 60 of `kernel` has 41 bytes, 1 to 40 are possible")
    );
    assert_eq!(
        message(&[0, 100]),
        format!("{wrong}the block at byte 0 of `kernel` has 0 bytes, 1 to 100 are possible")
    );
    assert_eq!(
        Index::parse(&[0; 19], &files).unwrap_err().to_string(),
        format!("{wrong}it has 19 bytes, 20 for each block")
    );
}

#[test]
fn keys_and_epochs_decide() {
    let (first, second) = (trusted(), root(2, (1, 1), &[2], &[1]));
    let third = root(3, (1, 1), &[3], &[1, 2]);
    let roots = vec![signed_root(&second, &[1, 2]), signed_root(&third, &[2, 3])];
    let by = |epoch, signers: &[u8], roots: Vec<SignedRoot>| {
        let mut sample = Sample::new(1, 7);
        sample.statement.epoch = epoch;
        Sample { roots, signers: signers.into(), ..sample }.bundle()
    };
    // A device of each epoch takes a bundle that brings all roots, and knows the last one afterwards.
    let newest = by(3, &[3], roots.clone());
    for known in [&first, &second, &third] {
        assert_eq!(read(&newest, known).1.expect("it is trusted").root, third);
    }
    assert_eq!(
        refusal(&by(3, &[3], roots[1..].to_vec()), &first),
        "root 3 follows root 1: root 2 is missing"
    );
    assert_eq!(
        refusal(&by(1, &[1], Vec::new()), &second),
        format!("the statement is signed by {}, which root 2 has revoked", public(1).fingerprint())
    );
    assert_eq!(
        refusal(&by(1, &[9], Vec::new()), &first),
        format!("the statement is signed by {}, which is not a key of root 1", public(9).fingerprint())
    );
    assert_eq!(
        refusal(&by(1, &[], Vec::new()), &first),
        "the statement has 0 of the 1 signatures that root 1 wants"
    );
    assert_eq!(
        refusal(&by(2, &[1], Vec::new()), &first),
        "the bundle was made for root 2, this device has root 1"
    );
    // Roots that were not there when the statement was signed.
    let mut parts = Sample::new(1, 7).parts();
    parts.roots = SignedRoot::encode_all(&[signed_root(&first, &[1])]);
    assert_eq!(
        refusal(&parts.to_bytes(Kind::Bundle), &first),
        "the list of roots is not the one that was signed: its digest is another one"
    );
}
