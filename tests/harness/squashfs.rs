//! Trees and images for the tests of squashfs.

use skiff_image::fs::squashfs::{self, Options, Resources, Written};
use skiff_image::storage::Region;
use skiff_image::tree::{Body, Device, Node, NodeId, Stat, Tree};

use super::trees::{Once, Random, access_list, dir, file, stat};

/// The options of most tests.
pub fn options(codec: &str) -> Options {
    let codec = codec.parse().expect("a codec");
    Options { codec, block_size: 128 << 10, timestamp: 1_600_000_000, pack_tails: false }
}

/// Threads, and no cache.
pub fn resources(threads: usize) -> Resources {
    Resources { threads, ..Default::default() }
}

/// The image, checked to be written once and without gaps, and not larger than was promised.
pub fn image(tree: &Tree, options: &Options) -> (Vec<u8>, Written) {
    image_with(tree, options, &resources(2))
}

/// [`image`], with a choice of what the work is done with.
pub fn image_with(tree: &Tree, options: &Options, resources: &Resources) -> (Vec<u8>, Written) {
    let layout = squashfs::layout(tree, options).expect("a layout");
    let target = Once::new(layout.size_bound() + 4096);
    let written = squashfs::write(&layout, &Region::whole(&target, "rootfs"), resources).expect("an image");
    assert!(target.covers(written.len), "exactly the image is written");
    assert!(written.len <= layout.size_bound(), "{} of {}", written.len, layout.size_bound());
    let mut bytes = target.memory.to_vec();
    assert!(bytes[written.len as usize..].iter().all(|byte| *byte == 0xaa), "the rest is left alone");
    bytes.truncate(written.len as usize);
    (bytes, written)
}

pub fn stored_by_squashfs(name: &[u8]) -> bool {
    [&b"user."[..], b"trusted.", b"security."].iter().any(|prefix| name.starts_with(prefix))
}

pub fn add(tree: &mut Tree, path: &str, body: Body) -> NodeId {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = tree.get(parent).expect("a parent");
    let mode = if matches!(body, Body::Symlink(_)) { 0o777 } else { 0o644 };
    tree.insert(parent, name.as_bytes(), Node::new(stat(mode), body))
}

pub fn set_xattr(tree: &mut Tree, path: &str, name: &str, value: &[u8]) {
    let id = tree.get(path).expect("a node");
    tree.node_mut(id).xattrs.insert(name.as_bytes().into(), value.into());
}

/// `struct vfs_cap_data` of revision 2: cap_net_raw, permitted and effective.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// One of everything.
pub fn zoo() -> Tree {
    let mut random = Random(1);
    let mut tree = Tree::new(Stat { mode: 0o1755, uid: 7, gid: 8, mtime: 1_234_567_890 });
    for path in ["bin", "dev", "empty", "data", "data/sub"] {
        add(&mut tree, path, dir());
    }
    let ping = add(&mut tree, "bin/ping", file(random.noise(70_000)));
    tree.node_mut(ping).stat = Stat { mode: 0o6755, uid: 0, gid: u32::MAX - 1, mtime: -5 };
    let bin = tree.get("bin").expect("bin");
    tree.link(bin, b"ping6", ping);
    let data = tree.get("data").expect("data");
    tree.link(data, b"ping", ping);
    add(&mut tree, "bin/sh", Body::Symlink(b"/bin/busybox".as_slice().into()));
    tree.insert(bin, b"\xff\xfe bad \xc3", Node::new(stat(0o600), file("not UTF-8")));
    tree.insert(bin, &[b'n'; 255], Node::new(stat(0o777), Body::Symlink(vec![b't'; 255].into())));
    add(&mut tree, "dev/null", Body::Char(Device { major: 1, minor: 3 }));
    add(&mut tree, "dev/large", Body::Char(Device { major: 4095, minor: 1_048_575 }));
    add(&mut tree, "dev/sda", Body::Block(Device { major: 259, minor: 70_000 }));
    add(&mut tree, "dev/pipe", Body::Fifo);
    add(&mut tree, "dev/log", Body::Socket);
    let last = add(&mut tree, "dev/late", Body::Fifo);
    tree.node_mut(last).stat.mtime = i64::from(u32::MAX) + 9;
    for (name, len) in [("0", 0), ("1", 1), ("4095", 4095), ("4096", 4096), ("4097", 4097)] {
        add(&mut tree, &format!("data/{name}"), file(random.noise(len)));
    }
    for (name, len) in [("128K-1", 131_071), ("128K", 131_072), ("128K+1", 131_073), ("text", 700_000)] {
        add(&mut tree, &format!("data/{name}"), file(random.text(len)));
    }
    let linked = add(&mut tree, "data/linked", file("a basic file but for its links"));
    tree.link(bin, b"linked", linked);
    add(&mut tree, "data/noise", file(random.noise(1 << 20)));
    add(&mut tree, "data/zeros", file(vec![0; 5000]));
    add(&mut tree, "data/hole", file([vec![1; 200_000], vec![0; 900_000], vec![2; 10]].concat()));
    add(&mut tree, "data/all-zero", file(vec![0; 300_000]));
    add(&mut tree, "data/sub/text", file(random.text(10)));
    add_xattrs(&mut tree);
    tree
}

fn add_xattrs(tree: &mut Tree) {
    set_xattr(tree, "", "user.root", b"1");
    set_xattr(tree, "bin/ping", "security.capability", &CAPABILITY);
    set_xattr(tree, "data/noise", "security.capability", &CAPABILITY);
    set_xattr(tree, "data/text", "user.same", b"a value that is long enough");
    set_xattr(tree, "data/hole", "user.other", b"a value that is long enough");
    set_xattr(tree, "data/hole", "user.empty", b"");
    set_xattr(tree, "data/hole", "user.large", &Random(9).noise(3000));
    set_xattr(tree, "data/0", "user.large", &Random(9).noise(3000));
    set_xattr(tree, "data/sub", "user.on.a.directory", b"yes");
    for special in ["bin/sh", "dev/null", "dev/sda", "dev/pipe", "dev/log"] {
        set_xattr(tree, special, "trusted.overlay.opaque", b"y");
    }
    // Its mode says the same of everybody but one user.
    let list = access_list("u::rw-,u:1000:r--,g::r--,m::r--,o::r--");
    set_xattr(tree, "data/1", "system.posix_acl_access", &list);
    set_xattr(tree, "data/1", "user.kept", b"kept");
}

/// A tree of about `count` nodes.
pub fn random_tree(seed: u64, count: u32) -> Tree {
    let mut random = Random(seed);
    let mut tree = Tree::new(stat(0o755));
    let (mut dirs, mut files) = (vec![Tree::ROOT], Vec::new());
    for _ in 0..count {
        let parent = dirs[random.below(dirs.len() as u32) as usize];
        let mut name: Vec<u8> = (0..=random.below(20)).map(|_| random.next() as u8).collect();
        name.iter_mut().for_each(|byte| *byte = if matches!(*byte, 0 | b'/' | b'.') { b'x' } else { *byte });
        if tree.child(parent, &name).is_some() {
            continue;
        }
        let body = random_body(&mut random);
        let is_link = matches!(body, Body::Symlink(_));
        let stat = Stat {
            mode: if is_link { 0o777 } else { random.below(0o10000) },
            uid: random.below(40),
            gid: random.below(4) * 1_000_000,
            mtime: random.next().into(),
        };
        let mut node = Node::new(stat, body);
        if random.below(5) == 0 && matches!(node.body, Body::File(_) | Body::Dir(_)) {
            let name = format!("user.{}", random.below(3)).into_bytes();
            node.xattrs.insert(name.into(), random.below(4).to_le_bytes().repeat(3).into());
        }
        match (&node.body, random.below(10)) {
            (Body::Dir(_), _) => dirs.push(tree.insert(parent, &name, node)),
            (_, 0) if !files.is_empty() => {
                let old = files[random.below(files.len() as u32) as usize];
                tree.link(parent, &name, old);
            }
            _ => files.push(tree.insert(parent, &name, node)),
        }
    }
    tree
}

fn random_body(random: &mut Random) -> Body {
    let len = match random.below(8) {
        0 => 1 << random.below(15),
        1 => random.below(40_000),
        2 => 4096 * random.below(10),
        _ => random.below(3000),
    } as usize;
    match random.below(30) {
        0..4 => dir(),
        4 => Body::Fifo,
        5 => Body::Socket,
        6 => Body::Char(Device { major: random.below(4096), minor: random.below(1 << 20) }),
        7 => Body::Block(Device { major: random.below(4096), minor: random.below(1 << 20) }),
        8..10 => Body::Symlink(random.text(len.clamp(1, 255)).into()),
        10..12 => file(vec![0; len]),
        12..15 => file(random.noise(len)),
        // Few different contents, so that many files are equal.
        15..18 => file(Random(random.below(5).into()).text(9000)),
        _ => file(random.text(len)),
    }
}
