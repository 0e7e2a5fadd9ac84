//! Inputs to begin with: small files of every format, made here, so that none has to be kept.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::OnceLock;

use skiff_image::board::Registry;
use skiff_image::fs::compress::Compression;
use skiff_image::fs::ext4::update::{Change, Volume};
use skiff_image::fs::{cpio, ext4, fat, squashfs, tar};
use skiff_image::storage::{Geometry, Memory, PowerCut, Region, Target};
use skiff_image::table::{Partition, PartitionKind, gpt, mbr};
use skiff_image::tree::{Body, Content, Device, Node, Stat, Tree};
use skiff_image::value::{Arch, Digest, Seed};
use skiff_image::{boot, flash};

const MIB: u64 = 1 << 20;
const STAT: Stat = Stat { mode: 0o755, uid: 1000, gid: 50, mtime: 1_700_000_000 };

/// A few nodes of each kind.
fn tree(special: bool) -> Tree {
    let mut tree = Tree::new(STAT);
    let etc = tree.insert(Tree::ROOT, b"etc", Node::new(STAT, Body::Dir(BTreeMap::default())));
    for (name, len) in [("empty", 0), ("small", 20), ("block", 4096), ("large", 70_000)] {
        let body = Body::File(Content::bytes((0..len).map(|byte| byte as u8).collect::<Vec<u8>>()));
        tree.insert(etc, name.as_bytes(), Node::new(STAT, body));
    }
    if special {
        let link = Body::Symlink(b"../etc/small"[..].into());
        tree.insert(etc, b"link", Node::new(STAT, link));
        let device = Body::Char(Device { major: 1, minor: 3 });
        let node = tree.insert(etc, b"null", Node::new(STAT, device));
        tree.node_mut(node).xattrs.insert(b"user.note"[..].into(), b"kept"[..].into());
    }
    tree
}

fn ext4_options() -> ext4::Options {
    let seed = Seed("fuzz".into());
    ext4::Options {
        label: "persist".into(),
        uuid: seed.uuid("filesystem"),
        hash_seed: seed.uuid("hash"),
        timestamp: STAT.mtime,
        bytes_per_inode: 16384,
        inodes: 0,
        reserved_percent: 0,
        journal: ext4::Journal::Auto,
        grow_to: 1 << 30,
    }
}

/// A filesystem of 8 MiB.
pub fn ext4_image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let (tree, target) = (tree(true), Memory::new(8 * MIB));
        let layout = ext4::layout(&tree, &ext4_options(), 8 * MIB).expect("it fits");
        ext4::write(&layout, &Region::whole(&target, "persist")).expect("memory takes it");
        target.to_vec()
    })
}

/// The same, switched off while a file was put there: its journal has something to replay.
pub fn ext4_image_to_replay() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let medium = PowerCut::new(ext4_image(), 512);
        let mut volume = Volume::open(&medium, 0, 8 * MIB).expect("it was just made");
        let staged = volume.stage(&Content::bytes(vec![1; 5000]), STAT).expect("there is room");
        volume.commit(&[Change::Put { path: b"etc/put".to_vec(), staged }], 1).expect("memory takes it");
        let is_to_replay =
            |medium: &dyn Target| Volume::open(medium, 0, 8 * MIB).is_ok_and(|volume| volume.needs_replay());
        let state = medium.states(0).find(|state| is_to_replay(&*state.medium)).expect("a state between");
        let mut bytes = vec![0; 8 << 20];
        state.medium.read_at(&mut bytes, 0).expect("memory can be read");
        bytes
    })
}

/// A FAT of 5 MiB.
pub fn fat_image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let options = fat::Options {
            fat_type: fat::FatType::Fat16,
            label: "boot".into(),
            volume_id: 7,
            timestamp: STAT.mtime,
            hidden_sectors: 0,
            sector_size: 512,
            cluster_size: Some(512),
        };
        let (tree, target) = (tree(false), Memory::new(5 * MIB));
        let layout = fat::layout(&tree, &options, 5 * MIB).expect("it fits");
        fat::write(&layout, &Region::whole(&target, "boot")).expect("memory takes it");
        target.to_vec()
    })
}

/// A disk with a FAT and an ext4.
pub fn disk_image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let target = Memory::new(16 * MIB);
        for (at, bytes) in [(MIB, fat_image()), (7 * MIB, ext4_image())] {
            target.write_at(bytes, at).expect("it has room");
        }
        for piece in mbr_pieces(target.geometry()) {
            target.write_at(&piece.bytes, piece.offset).expect("it has room");
        }
        target.to_vec()
    })
}

fn mbr_pieces(geometry: Geometry) -> Vec<skiff_image::table::TableBytes> {
    let partition = |number, code, start, len| Partition {
        number,
        name: String::new(),
        start,
        len,
        kind: PartitionKind::Mbr { code, active: number == 1 },
    };
    let partitions = [partition(1, 0x0e, MIB, 5 * MIB), partition(5, 0x83, 7 * MIB, geometry.len - 7 * MIB)];
    mbr::encode(0x1234_5678, &partitions, geometry).expect("a table")
}

fn gpt_pieces(geometry: Geometry) -> Vec<skiff_image::table::TableBytes> {
    let seed = Seed("fuzz".into());
    let kind = |name: &str| PartitionKind::Gpt {
        type_guid: seed.uuid("type"),
        guid: seed.uuid(name),
        name: name.into(),
        attributes: 0,
    };
    let partition = |number, name, start| Partition {
        number,
        name: String::from(name),
        start,
        len: 2 * MIB,
        kind: kind(name),
    };
    let options =
        gpt::Options { disk_guid: seed.uuid("disk"), entry_count: 128, reserved: &[], hybrid: None };
    gpt::encode(&[partition(1, "boot", MIB), partition(2, "persist", 4 * MIB)], geometry, &options)
        .expect("a table")
}

/// The start of a medium and its end, as the reader of tables takes them.
fn table_seeds() -> Vec<Vec<u8>> {
    let geometry = Geometry { len: 8 * MIB, sector_size: 512 };
    [mbr_pieces(Geometry { len: 8 * MIB, ..geometry }), gpt_pieces(geometry)]
        .into_iter()
        .map(|pieces| {
            let medium = Memory::new(geometry.len);
            for piece in pieces {
                medium.write_at(&piece.bytes, piece.offset).expect("it has room");
            }
            let bytes = medium.to_vec();
            let half = 34 * 512;
            [&bytes[..half], &bytes[bytes.len() - half..]].concat()
        })
        .collect()
}

/// What the journals that are read belong to.
pub fn journal_header() -> flash::journal::Header {
    let medium = flash::journal::MediumId { model: None, serial: None, len: 8 * MIB };
    flash::journal::Header::new(medium, "image".into(), Digest::of(b"image"))
}

fn tar_seed() -> Vec<u8> {
    let tree = tree(true);
    let mut bytes = Vec::new();
    tar::write(&tar::layout(&tree), &mut tar::Plain(&mut bytes)).expect("memory takes it");
    bytes
}

fn cpio_seed() -> Vec<u8> {
    let tree = tree(true);
    let mut bytes = Vec::new();
    let layout = cpio::layout(&tree).expect("a layout");
    cpio::write(&layout, Compression::None, &mut bytes).expect("memory takes it");
    bytes
}

fn squashfs_seeds() -> Vec<Vec<u8>> {
    let tree = tree(true);
    ["gzip", "zstd", "lz4", "xz"]
        .into_iter()
        .map(|codec| {
            let codec = codec.parse().expect("a codec");
            let options = squashfs::Options { codec, block_size: 4096, timestamp: 1, pack_tails: true };
            let layout = squashfs::layout(&tree, &options).expect("a layout");
            let target = Memory::new(layout.size_bound());
            let region = Region::whole(&target, "rootfs");
            let written = squashfs::write(&layout, &region, &squashfs::Resources::default());
            let len = written.expect("memory takes it").len as usize;
            target.to_vec()[..len].to_vec()
        })
        .collect()
}

/// The bytes, packed in the ways that sources are.
fn packed(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("memory takes it");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(bytes).expect("memory takes it");
    vec![
        gzip.finish().expect("memory takes it"),
        xz.finish().expect("memory takes it"),
        zstd::encode_all(bytes, 1).expect("memory takes it"),
        zip(bytes),
    ]
}

/// A file stored in a zip archive: local header, data, central directory and its end (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16).
fn zip(bytes: &[u8]) -> Vec<u8> {
    let (len, name) = ((bytes.len() as u32).to_le_bytes(), b"disk.img");
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    let crc = crc.sum().to_le_bytes();
    let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc, &len, &len, &[8, 0, 0, 0]].concat();
    let local = [&b"PK\x03\x04"[..], &common, name, bytes].concat();
    let central = [&b"PK\x01\x02\x14\x00"[..], &common, &[0; 14], name].concat();
    let place = [(central.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes()].concat();
    let end = [&b"PK\x05\x06"[..], &[0, 0, 0, 0, 1, 0, 1, 0], &place, &[0, 0]].concat();
    [local, central, end].concat()
}

/// Seeds of a fuzz target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let text = |text: &str| vec![text.as_bytes().to_vec()];
    match target {
        "board" => boards(),
        "rule_set" => text(
            "[[rule]]\nid = \"a\"\nsays = \"b\"\nsource = \"c\"\nhint = \"d\"\ncheck.table = { kind = [\"mbr\"] }\n",
        ),
        "bmap" => text(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n<ImageSize> 8192 </ImageSize>\n<BlockSize> 4096 </BlockSize>\n\
             <BlocksCount> 2 </BlocksCount>\n<MappedBlocksCount> 1 </MappedBlocksCount>\n<ChecksumType> sha256 \
             </ChecksumType>\n<BmapFileChecksum> 00 </BmapFileChecksum>\n<BlockMap>\n<Range> 0-1 </Range>\n</BlockMap>\n</bmap>\n",
        ),
        "boot_text" => {
            text("setenv bootargs console=@{console}\nload mmc 0:1 ${kernel_addr_r} Image\nLABEL a\n")
        }
        "cpio" => vec![cpio_seed()].into_iter().chain(packed(&cpio_seed())).collect(),
        "device_table" => {
            text("/dev/null c 666 0 0 1 3 0 0 -\n/bin d 755 0 0 - - - - -\n|xattr cap_net_raw+ep\n")
        }
        "dot_config" => text("BR2_aarch64=y\n# BR2_arm is not set\nBR2_DEFCONFIG=\"a\"\nBR2_X=0x10\n"),
        "fragment" => text("BR2_A=y\n# BR2_B is not set\nBR2_C+=\" more\"\nBR2_D=\"a \\\"quoted\\\" one\"\n"),
        // Offset and length of a change, and its bytes.
        "ext4" | "ext4_update" | "fat" | "inspect" => [0, 1024, 1080, 4096, 8192, 69_632]
            .map(|offset: u32| [&offset.to_le_bytes()[..], &[4], &[1, 2, 3, 4]].concat())
            .to_vec(),
        "flash_journal" => vec![journal_seed()],
        "image" => packed(&disk_image()[..64 << 10]),
        "kconfig" => text(
            "config BR2_A\n\tbool \"a\"\n\tdefault y if BR2_B && !BR2_C\n\tdepends on BR2_D || BR2_E=\"x\"\n\tselect BR2_F\n\
             \thelp\n\t  text\n\nchoice\n\tprompt \"c\"\nconfig BR2_G\n\tbool \"g\"\nendchoice\nif BR2_H\nsource \"Config.in\"\n\
             endif\nmenu \"m\"\nendmenu\n",
        ),
        "manifest" => {
            text("{\"schema\": \"skiff-image.manifest/1\", \"board\": \"virt/qemu\", \"regions\": []}")
        }
        "marker" => text("skiff-image\n"),
        "refind" => text("\"Boot\" \"root=/dev/sda1 initrd=boot\\init-%v.gz\"\n"),
        "squashfs" => squashfs_seeds(),
        "ssh_key" => {
            text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqsZ6zFZ1mGZsl2EBmaU5mXKqYN0kW3aSxbtIZyNfHP me@home\n")
        }
        "sums" => text(&format!("{}  disk.img.gz\nSHA256 (disk.img) = {0}\n", "ab".repeat(32))),
        "table" => table_seeds(),
        "tar" => vec![tar_seed()],
        "tar_compressed" => packed(&tar_seed()),
        "uimage" => vec![uimage_seed()],
        "units" => text(
            "[Unit]\nDescription=a\n[Install]\nWantedBy=multi-user.target\nAlias=d.service\nAlso=c.socket\n\
             enable a.service\ndisable *\nenable b@.service one two\n",
        ),
        "container_image" => vec![layout_archive()],
        "containers" => vec![
            include_bytes!("../../configs/skiff/core/root_overlay/opt/skiff/coreenv/defconfig.yaml").to_vec(),
            include_bytes!("../../configs/core/nasa_cfs/root_overlay/opt/skiff/coreenv/defconfig.yaml")
                .to_vec(),
            CONTAINERS.into(),
        ],
        "users_table" => {
            text("user 1000 group -1 =password /home/user /bin/sh wheel,audio A user\n- -1 - -1 - - - - -\n")
        }
        _ => Vec::new(),
    }
}

/// Every kind of value that a configuration of containers has, and what YAML has besides.
const CONTAINERS: &str = "version: 1\ncontainers:\n  a: &x\n    image: b:1\n    ports: [\"127.0.0.1:80:8080/udp\", {hostPort: 1, containerPort: \
                          2}]\n    memory: 1.5g\n    cpus: 0.5\n    ulimits: {nofile: 1:2}\n    health: {test: [a], interval: 1m30s}\n    \
                          devices: [/dev/a:/dev/b:rw]\n    tmpFs: {/run: size=1k}\n    env: [A=b, '']\n    mounts: [/a:/b:ro, v:/c]\n  \
                          c: *x\nusers:\n  u: {container: a, containerUser: '1:2', auth: {password: x, sshKeys: [k]}}\nimages:\n  b:1:\n    \
                          build: {source: /x, buildArgs: {A: ~}}\n    pull: {policy: ifnotexists}\n...\n--- |\n  text\n";

/// An OCI layout whose manifest is missing.
fn layout_archive() -> Vec<u8> {
    let mut archive = ::tar::Builder::new(Vec::new());
    let digest = "0".repeat(64);
    let index = format!(
        r#"{{"manifests":[{{"digest":"sha256:{digest}","size":2,"annotations":{{"org.opencontainers.image.ref.name":"a:1"}}}}]}}"#
    );
    let blob = format!("blobs/sha256/{digest}");
    for (name, text) in [("oci-layout", "{}"), ("index.json", &*index), (&*blob, "{}")] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).expect("it is written to memory");
    }
    archive.into_inner().expect("it is written to memory")
}

fn boards() -> Vec<Vec<u8>> {
    let registry = Registry::built_in();
    ["virt/qemu", "odroid/xu", "pi/4", "jetson/tx2"]
        .into_iter()
        .filter_map(|name| registry.text(name).ok())
        .map(String::into_bytes)
        .collect()
}

fn journal_seed() -> Vec<u8> {
    let header = serde_json::to_string(&journal_header()).expect("a header is JSON");
    format!("{header}\n{{\"changed\":[{{\"start\":0,\"end\":512}}]}}\n\"commit\"\n").into_bytes()
}

fn uimage_seed() -> Vec<u8> {
    let options = boot::uimage::UImageOptions {
        name: "boot.scr".into(),
        timestamp: 1,
        arch: Arch::Arm,
        compression: Compression::None,
    };
    boot::uimage::script(&options, b"echo hello\n").expect("a short text")
}
