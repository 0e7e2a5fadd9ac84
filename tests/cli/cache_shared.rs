//! A cache that machines share through an S3-compatible store: with a real one (`s3s`, which checks signatures), and
//! with servers that misbehave in every way.
#![cfg(feature = "object-store")]

mod memory;
mod server;

use std::sync::Arc;
use std::time::Duration;

use memory::{Keepless, Memory};
use server::{Scripted, Store, Unreachable};
use skiff_image::cache::{
    Access, Answer, Block, BlockCache, BlockStore, Found, Key, Limits, Shared, Summary, share,
};
use skiff_image::fs::squashfs::{self, Codec, Options, Resources};
use skiff_image::storage::{Memory as Medium, Region};
use skiff_image::tree::{Body, Content, Node, Stat, Tree};
use skiff_image::value::Digest;

const KEY_ID: &str = "KEYIDOFTHETEST";
const SECRET: &str = "the secret that nobody may see";
const URL: &str = "s3://blocks/ci";

/// Blocks of every kind: compressible, incompressible, and the same twice.
fn tree() -> Tree {
    let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
    let mut tree = Tree::new(stat);
    let mut file = |name: &str, bytes: Vec<u8>| {
        tree.insert(Tree::ROOT, name.as_bytes(), Node::new(stat, Body::File(Content::bytes(bytes))));
    };
    for number in 0..10 {
        file(
            &format!("text{number}"),
            format!("all work and no play makes {number} ").repeat(2000).into_bytes(),
        );
    }
    let noise = (0..3000_u32).flat_map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes());
    file("noise", noise.collect());
    tree
}

/// Composes the tree.
fn build(codec: &str, cache: Option<Arc<dyn BlockCache>>) -> (Vec<u8>, Summary) {
    let codec: Codec = codec.parse().expect("a codec");
    let options = Options { codec, block_size: 16 << 10, timestamp: 0, pack_tails: false };
    let tree = tree();
    let layout = squashfs::layout(&tree, &options).expect("fits");
    let medium = Medium::new(layout.size_bound());
    let resources = Resources { threads: 2, cache: cache.clone(), ..Resources::default() };
    let written = squashfs::write(&layout, &Region::whole(&medium, "rootfs"), &resources).expect("composes");
    let image = medium.to_vec()[..written.len as usize].to_vec();
    (image, cache.map(|cache| cache.finish()).unwrap_or_default())
}

/// What a build asks for, and the image it must make.
fn expected(codec: &str) -> (Vec<u8>, Vec<Key>) {
    let memory = Arc::new(Memory::default());
    let cached = build(codec, Some(memory.clone())).0;
    assert_eq!(cached, build(codec, None).0);
    (cached, memory.keys())
}

fn access(endpoint: &str, secret: &str) -> Access {
    let variables = [
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_ENDPOINT_URL_S3", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
    Access::from_variables(|name| find(name).map(|(_, value)| (*value).into())).expect("valid")
}

/// A machine with an empty cache of its own.
fn machine(url: &str, access: &Access, limits: Limits) -> Arc<dyn BlockCache> {
    share(Arc::new(Memory::default()), &url.parse().expect("a URL"), access, limits)
}

/// A build with a store at `endpoint` that is of no use makes the right image and has this warning.
#[track_caller]
fn assert_gives_up(endpoint: &str, limits: Limits, warning: &str) {
    let (image, _) = expected("zstd:3");
    let cache = machine(URL, &access(endpoint, SECRET), limits);
    let (made, summary) = build("zstd:3", Some(cache));
    assert!(made == image, "the image differs");
    assert_eq!(summary.warnings, [warning.replace("ENDPOINT", endpoint)]);
    assert_eq!((summary.hits, summary.fetched, summary.uploaded), (0, 0, 0));
    assert!(!format!("{summary:?}").contains(SECRET) && !format!("{summary:?}").contains(KEY_ID));
}

#[test]
fn another_machine_gets_every_block() {
    let store = Store::start("blocks", KEY_ID, SECRET);
    let access = access(&store.endpoint, SECRET);
    for codec in ["zstd:3", "gzip:6", "xz:1", "lz4", "lz4hc"] {
        let (image, keys) = expected(codec);
        let count = keys.len() as u64;
        let (made, first) = build(codec, Some(machine(URL, &access, Limits::default())));
        assert!(made == image, "{codec}: the first image differs");
        let misses = first.misses;
        assert_eq!(
            first,
            Summary { misses, hits: first.hits, uploaded: count, ..Summary::default() },
            "{codec}"
        );

        let (made, second) = build(codec, Some(machine(URL, &access, Limits::default())));
        assert!(made == image, "{codec}: the second image differs");
        let hits = first.hits + first.misses;
        assert_eq!(second, Summary { hits, fetched: count, ..Summary::default() }, "{codec}");
    }
}

#[test]
fn what_is_here_is_not_fetched() {
    let store = Store::start("blocks", KEY_ID, SECRET);
    let access = access(&store.endpoint, SECRET);
    let (_, keys) = expected("lz4");
    build("lz4", Some(machine("s3://blocks", &access, Limits::default())));
    let local = Arc::new(Memory::default());
    build("lz4", Some(local.clone()));
    local.forget(&keys[0]);
    let url = "s3://blocks".parse().expect("a URL");
    let (_, summary) = build("lz4", Some(share(local, &url, &access, Limits::default())));
    assert_eq!((summary.fetched, summary.uploaded, summary.misses), (1, 0, 0));
}

#[test]
fn damaged_and_forged_objects_are_made_again() {
    let store = Store::start("blocks", KEY_ID, SECRET);
    let access = access(&store.endpoint, SECRET);
    let (image, keys) = expected("zstd:3");
    build("zstd:3", Some(machine(URL, &access, Limits::default())));

    let objects: Vec<_> = keys.iter().map(|key| store.object("blocks", "ci/v1", key)).collect();
    let body = |number: usize| std::fs::read(&objects[number]).expect("is there");
    let (mut flipped, mut cut, exchanged) = (body(0), body(1), body(3));
    *flipped.last_mut().expect("not empty") ^= 1;
    cut.truncate(40);
    for (number, bytes) in [flipped, cut, exchanged, vec![0; 1 << 20], Vec::new()].into_iter().enumerate() {
        std::fs::write(&objects[number], bytes).expect("can be written");
    }
    let (made, summary) = build("zstd:3", Some(machine(URL, &access, Limits::default())));
    assert!(made == image, "the image differs");
    assert_eq!((summary.damaged, summary.misses, summary.uploaded), (5, 5, 5));
    assert_eq!((summary.fetched, summary.warnings.len()), (keys.len() as u64 - 5, 0));

    let (_, summary) = build("zstd:3", Some(machine(URL, &access, Limits::default())));
    assert_eq!((summary.damaged, summary.misses, summary.fetched), (0, 0, keys.len() as u64));
}

#[test]
fn machines_that_upload_at_once_do_not_disturb_each_other() {
    let store = Store::start("blocks", KEY_ID, SECRET);
    let access = access(&store.endpoint, SECRET);
    let (image, keys) = expected("zstd:3");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (made, summary) = build("zstd:3", Some(machine(URL, &access, Limits::default())));
                assert!(made == image, "the image differs");
                assert_eq!(summary.warnings, Vec::<String>::new());
            });
        }
    });
    let (made, summary) = build("zstd:3", Some(machine(URL, &access, Limits::default())));
    assert!(made == image, "the image differs");
    assert_eq!((summary.misses, summary.damaged, summary.fetched), (0, 0, keys.len() as u64));
}

#[test]
fn wrong_credentials_are_told_and_not_shown() {
    let store = Store::start("blocks", KEY_ID, "another secret");
    let refuses = "the shared cache `s3://blocks/ci` is not used: `ENDPOINT` refuses these credentials:";
    assert_gives_up(&store.endpoint, Limits::default(), &format!("{refuses} HTTP 403 SignatureDoesNotMatch"));
    let store = Store::start("blocks", "ANOTHERKEYID", SECRET);
    assert_gives_up(&store.endpoint, Limits::default(), &format!("{refuses} HTTP 403 NotSignedUp"));
}

#[test]
fn a_missing_bucket_is_told() {
    let store = Scripted::start(|_| server::Reply::error(404, "NoSuchBucket"));
    assert_gives_up(
        &store.endpoint,
        Limits::default(),
        "the shared cache `s3://blocks/ci` is not used: `ENDPOINT` has no bucket `blocks`",
    );
}

#[test]
fn without_credentials_nothing_is_asked() {
    let (image, _) = expected("zstd:3");
    let access = Access::from_variables(|_| None).expect("valid");
    let cache = machine(URL, &access, Limits::default());
    assert!(!cache.wants_prefetch(), "there is nothing to fetch from");
    let (made, summary) = build("zstd:3", Some(cache));
    assert!(made == image, "the image differs");
    let reason = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set";
    assert_eq!(summary.warnings, [format!("the shared cache `{URL}` is not used: {reason}")]);
}

#[test]
fn a_dead_server_is_given_up() {
    assert_gives_up(
        &server::dead(),
        Limits::default(),
        "the shared cache `s3://blocks/ci` is not used: \
         cannot connect to `ENDPOINT`: Connection refused (os error 111)",
    );
}

#[test]
fn a_server_that_cannot_be_reached_is_given_up() {
    let store = Unreachable::start();
    assert_gives_up(
        &store.endpoint,
        Limits { connect: Duration::from_millis(400), ..Limits::default() },
        "the shared cache `s3://blocks/ci` is not used: no answer from `ENDPOINT` within 0.4 s",
    );
}

#[test]
fn a_local_cache_that_keeps_nothing_ends_fetching() {
    let store = Store::start("blocks", KEY_ID, SECRET);
    let access = access(&store.endpoint, SECRET);
    let (image, _) = expected("zstd:3");
    build("zstd:3", Some(machine(URL, &access, Limits::default())));
    let url = URL.parse().expect("a URL");
    let cache = share(Arc::new(Keepless), &url, &access, Limits::default());
    let (made, summary) = build("zstd:3", Some(cache));
    assert!(made == image, "the image differs");
    let reason = "the local cache keeps nothing of what comes from it";
    assert_eq!(summary.warnings, [format!("the shared cache `{URL}` is not used: {reason}")]);
    assert_eq!((summary.hits, summary.fetched, summary.uploaded), (0, 0, 0));
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    assert_gives_up(
        &server::silent(),
        Limits { answer: Duration::from_millis(300), ..Limits::default() },
        "the shared cache `s3://blocks/ci` is not used: no answer from `ENDPOINT` within 0.3 s",
    );
}

#[test]
fn a_server_that_drips_is_given_up() {
    let store = Scripted::start(|_| server::Reply::Drip);
    let limits = Limits { wait: Duration::from_millis(500), bytes_per_second: u64::MAX, ..Limits::default() };
    let blocks = expected("zstd:3").1.len();
    assert_gives_up(
        &store.endpoint,
        limits,
        &format!(
            "the shared cache `s3://blocks/ci` is not used: it is too slow, 0 of {blocks} blocks came in 0.5 s"
        ),
    );
}

#[test]
fn uploads_that_do_not_end_are_left() {
    let (image, keys) = expected("zstd:3");
    let store = Scripted::start(|method| match method {
        "PUT" => server::Reply::Nothing,
        _ => server::Reply::error(404, "NoSuchKey"),
    });
    let limits = Limits { wait: Duration::from_millis(500), bytes_per_second: u64::MAX, ..Limits::default() };
    let cache = machine(URL, &access(&store.endpoint, SECRET), limits);
    let (made, summary) = build("zstd:3", Some(cache));
    assert!(made == image, "the image differs");
    let slow = format!("it is too slow, {} blocks were not uploaded in 0.5 s", keys.len());
    assert_eq!(summary.warnings, [format!("the shared cache `{URL}` is not used: {slow}")]);
}

#[test]
fn a_server_that_fails_is_given_up() {
    let store = Scripted::start(|_| server::Reply::error(500, "InternalError"));
    assert_gives_up(
        &store.endpoint,
        Limits::default(),
        "the shared cache `s3://blocks/ci` is not used: `ENDPOINT` answers HTTP 500 InternalError",
    );
}

#[test]
fn a_server_of_another_protocol_is_given_up() {
    let store = Scripted::start(|_| server::Reply::Raw(b"220 mail.example ESMTP\r\n"));
    assert_gives_up(
        &store.endpoint,
        Limits::default(),
        "the shared cache `s3://blocks/ci` is not used: `ENDPOINT` does not answer as a store does: \
         invalid HTTP version parsed",
    );
}

#[test]
fn a_server_without_the_encryption_that_is_wanted_is_given_up() {
    assert_gives_up(
        &server::greeting(),
        Limits::default(),
        "the shared cache `s3://blocks/ci` is not used: \
         cannot connect to `ENDPOINT`: received corrupt message of type InvalidContentType",
    );
}

#[test]
fn a_page_in_place_of_an_object_is_damage() {
    let page = "<html>Please log in</html>".repeat(20);
    let store = Scripted::start(move |_| server::Reply::Ok(page.clone().into_bytes()));
    let (image, keys) = expected("zstd:3");
    let cache = machine(URL, &access(&store.endpoint, SECRET), Limits::default());
    let (made, summary) = build("zstd:3", Some(cache));
    assert!(made == image, "the image differs");
    assert_eq!((summary.damaged, summary.fetched, summary.hits), (keys.len() as u64, 0, summary.hits));
}

#[test]
fn who_may_not_list_is_told_nothing_and_may_upload() {
    let store = Scripted::start(|method| match method {
        "GET" => server::Reply::error(403, "AccessDenied"),
        _ => server::Reply::Ok(Vec::new()),
    });
    let (_, keys) = expected("zstd:3");
    let cache = machine(URL, &access(&store.endpoint, SECRET), Limits::default());
    let (_, summary) = build("zstd:3", Some(cache));
    assert_eq!((summary.uploaded, summary.warnings.len()), (keys.len() as u64, 0));
}

#[test]
fn who_may_do_nothing_is_told_by_the_first_upload() {
    let store = Scripted::start(|_| server::Reply::error(403, "AccessDenied"));
    assert_gives_up(
        &store.endpoint,
        Limits::default(),
        "the shared cache `s3://blocks/ci` is not used: \
         `ENDPOINT` refuses these credentials: HTTP 403 AccessDenied",
    );
}

/// Takes everything and finishes nothing.
#[derive(Debug)]
struct Stuck;

impl BlockStore for Stuck {
    fn fetch(&self, _: Digest, _: u64) -> Answer<'_, Found> {
        Box::pin(std::future::pending())
    }

    fn store(&self, _: Digest, _: Vec<u8>) -> Answer<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_full_queue_leaves_blocks_out_and_stops_nobody() {
    let limits = Limits {
        queue: 2,
        wait: Duration::from_millis(100),
        bytes_per_second: u64::MAX,
        ..Limits::default()
    };
    let cache = Shared::new(Arc::new(Memory::default()), Arc::new(Stuck), "test", limits).expect("threads");
    let (_, keys) = expected("zstd:3");
    let keys = keys.iter().flat_map(|key| (1..100).map(|len| Key { raw_len: len, ..*key }));
    keys.for_each(|key| cache.put(&key, &Block::Incompressible));
    let warnings = cache.finish().warnings;
    let [slow, full] = warnings.as_slice() else { panic!("two warnings, not {warnings:?}") };
    let blocks: u64 = full.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    assert!(blocks > 0);
    assert_eq!(
        *full,
        format!("{blocks} blocks were not uploaded to `test`: more than 2 were waiting for it")
    );
    assert!(slow.starts_with("the shared cache `test` is not used: it is too slow, "), "{slow}");
}
