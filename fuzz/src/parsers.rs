//! One function for each reader of bytes that somebody else wrote. It returns on any input: an error is as good as a
//! result. A panic, a loop without end or much memory for few bytes is a fault.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use skiff_image::bmap::Bmap;
use skiff_image::board::{Board, DescriptorSource, NoFamilies, Registry, RuleSet};
use skiff_image::boot::{refind, text, uimage};
use skiff_image::buildroot::config::Config;
use skiff_image::buildroot::kconfig::Definitions;
use skiff_image::fs::ext4::{self, update};
use skiff_image::fs::fat::Volume;
use skiff_image::fs::{cpio, squashfs};
use skiff_image::inspect::inspect;
use skiff_image::layer::{Layer, LayerOrigin, fragment};
use skiff_image::manifest::Manifest;
use skiff_image::persist::ContainerImage;
use skiff_image::rootfs::{DeviceTable, UsersTable, presets};
use skiff_image::source::{Image, Source, sum_beside};
use skiff_image::storage::{Memory, ReadOnly, Target};
use skiff_image::tree::archive::read_archive;
use skiff_image::tree::{Body, Content, Node, Stat, Tree};
use skiff_image::{flash, install, persist, table};

use super::seeds;

/// A reader of foreign bytes.
pub type Parser = fn(&[u8]);

/// All of them, by the names of the fuzz targets.
pub const PARSERS: [(&str, Parser); 29] = [
    ("board", board),
    ("bmap", bmap),
    ("boot_text", boot_text),
    ("container_image", container_image),
    ("containers", containers),
    ("cpio", cpio),
    ("device_table", device_table),
    ("dot_config", dot_config),
    ("ext4", ext4),
    ("ext4_update", ext4_update),
    ("fat", fat),
    ("flash_journal", flash_journal),
    ("fragment", fragment),
    ("image", image),
    ("inspect", inspected),
    ("kconfig", kconfig),
    ("manifest", manifest),
    ("marker", marker),
    ("refind", refind_conf),
    ("rule_set", rule_set),
    ("squashfs", squashfs),
    ("ssh_key", ssh_key),
    ("sums", sums),
    ("table", partition_table),
    ("tar", tar),
    ("tar_compressed", tar_compressed),
    ("uimage", uimage),
    ("units", units),
    ("users_table", users_table),
];

thread_local! {
    /// A directory for readers that want a path.
    static DIRECTORY: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// Path of a file with these bytes below a directory that each thread has; `name` may have directories.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let directory = DIRECTORY.with_borrow_mut(|kept| {
        kept.get_or_insert_with(|| tempfile::tempdir().expect("a temporary directory")).path().to_path_buf()
    });
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("it is below the directory")).expect("a directory can be made");
    fs::write(&path, bytes).expect("a file can be written");
    path
}

/// The text that a program would see of a file; Kconfig and others are bytes to the programs that own them.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A medium with the bytes, in whole sectors.
fn medium(bytes: &[u8]) -> Memory {
    let medium = Memory::new((bytes.len() as u64).next_multiple_of(512).max(64 << 10));
    medium.write_at(bytes, 0).expect("it has room");
    medium
}

/// A copy of `base` with changes: four bytes of offset, one of length, so many bytes; and so on. An input that is
/// small changes a filesystem of a MiB anywhere.
fn patched(base: &[u8], mut patches: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    while let Some((head, rest)) = patches.split_first_chunk::<5>() {
        let offset = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize % bytes.len();
        let len = usize::from(head[4]).min(rest.len()).min(bytes.len() - offset);
        bytes[offset..offset + len].copy_from_slice(&rest[..len]);
        patches = &rest[len..];
    }
    bytes
}

fn board(bytes: &[u8]) {
    let text = text_of(bytes);
    let source = DescriptorSource { file: "fuzzed.toml", text: &text };
    let _ = Board::parse("fuzzed/board", source, &NoFamilies);
    let mut registry = Registry::built_in();
    let path = file("boards/fuzzed/board.toml", bytes);
    let name = registry.add_file(&path);
    let _ = registry.board(&name);
    if registry.add_directory(path.parent().and_then(Path::parent).expect("it has both")).is_ok() {
        let _ = registry.board("fuzzed/board");
    }
}

fn container_image(bytes: &[u8]) {
    let path = file("image.tar", bytes);
    let _ = ContainerImage::read(path.to_str().expect("a plain name"));
}

fn containers(bytes: &[u8]) {
    match skiff_core::config::Config::parse(&text_of(bytes), Path::new("config.yaml")) {
        Ok((_, notes)) => drop(notes.iter().map(ToString::to_string).collect::<Vec<_>>()),
        Err(broken) => {
            assert!(!broken.errors.is_empty(), "an error says what it is");
            drop(broken.to_string());
        }
    }
}

fn bmap(bytes: &[u8]) {
    if let Ok(map) = Bmap::parse(&text_of(bytes)) {
        let again = Bmap::parse(&map.to_xml()).expect("what is written can be read");
        assert_eq!(again.mapped_len(), map.mapped_len());
    }
}

fn boot_text(bytes: &[u8]) {
    let given = text_of(bytes);
    for format in [text::Format::Script, text::Format::Extlinux, text::Format::PiConfig] {
        let _ = text::check("fuzzed", &given, format);
    }
    let _ = text::check("fuzzed", &given, text::Format::CommandLine { size: 256 });
    let values = BTreeMap::from([("console".to_owned(), "ttyS0".to_owned())]);
    let _ = text::render("fuzzed", &given, &values);
}

fn cpio(bytes: &[u8]) {
    let _ = cpio::read(bytes);
}

fn device_table(bytes: &[u8]) {
    let _ = DeviceTable::parse(Path::new("fuzzed.txt"), &text_of(bytes));
}

fn dot_config(bytes: &[u8]) {
    let config = Config::parse(&text_of(bytes));
    let _ = config.arch();
    assert!(config.differing(&config).is_empty(), "it is equal to itself");
}

fn ext4(bytes: &[u8]) {
    let image = patched(seeds::ext4_image(), bytes);
    let Ok(reader) = ext4::Reader::open(Cursor::new(image), 0) else { return };
    let _ = reader.check_root();
    let _ = reader.file_paths();
    let Ok(files) = reader.files() else { return };
    for found in &files {
        let _ = reader.copy_file(found.path.as_bytes(), &mut std::io::sink());
    }
    let _ = reader.check_files(&files);
}

/// Replays the journal, reads everything, and writes a file. What says that it wrote it has it.
fn ext4_update(bytes: &[u8]) {
    let image = patched(seeds::ext4_image_to_replay(), bytes);
    let medium = medium(&image);
    let Ok(mut volume) = update::Volume::open(&medium, 0, image.len() as u64) else { return };
    let names = volume.list("").unwrap_or_default();
    for name in names {
        let _ = volume.stat(&name);
        let _ = volume.list(&name);
        let _ = volume.read(&name);
    }
    let stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 1 };
    let content = Content::bytes(vec![7; 9000]);
    let Ok(staged) = volume.stage(&content, stat) else { return };
    if volume.commit(&[update::Change::Put { path: b"new".to_vec(), staged }], 1).is_ok() {
        let volume = update::Volume::open(&medium, 0, image.len() as u64);
        let read = volume.and_then(|volume| volume.read("new"));
        assert_eq!(read.ok().as_deref(), Some(&[7; 9000][..]), "the file was written");
    }
}

fn fat(bytes: &[u8]) {
    let image = patched(seeds::fat_image(), bytes);
    let Ok(volume) = Volume::from_reader("fuzzed", Cursor::new(image)) else { return };
    let _ = volume.summary();
    let _ = volume.list();
    let _ = volume.is_dirty();
    let _ = volume.files().map(|files| volume.check_files(&files));
}

fn flash_journal(bytes: &[u8]) {
    let path = file("flash.journal", bytes);
    let _ = flash::Journal::resume(&path, seeds::journal_header());
}

fn fragment(bytes: &[u8]) {
    let path = file("layer/buildroot/fuzzed", bytes);
    let directory = path.parent().and_then(Path::parent).expect("it has both");
    let layer = Layer {
        name: "fuzzed/layer".into(),
        path: directory.into(),
        description: None,
        unlisted: false,
        found: LayerOrigin::InTree,
        shadows: Vec::new(),
    };
    let kind = fragment::Kind::Buildroot;
    if let Ok(fragments) = fragment::read(std::slice::from_ref(&layer), kind) {
        let _ = skiff_image::layer::merge::Merged::from_fragments(&fragments);
    }
}

/// A ready image, packed or not, as `flash` reads it.
fn image(bytes: &[u8]) {
    let path = file("image", bytes);
    let readers = [
        Image::open(&path, None),
        Image::from_reader("pipe", Box::new(Cursor::new(bytes.to_vec())), None, None),
    ];
    for image in readers.into_iter().flatten() {
        let _ = image.kind();
        let _ = image.write(&Memory::new(4 << 20));
    }
}

fn inspected(bytes: &[u8]) {
    let path = file("medium", &patched(seeds::disk_image(), bytes));
    let _ = ReadOnly::open(&path).map(|medium| inspect(&medium));
    let path = file("medium", bytes);
    let _ = ReadOnly::open(&path).map(|medium| inspect(&medium));
}

fn kconfig(bytes: &[u8]) {
    let path = file("kconfig/Config.in", bytes);
    let directory = path.parent().expect("it has one");
    let definitions = Definitions::read(directory, "Config.in", "", BTreeMap::new());
    let _ = definitions.symbols().count();
}

fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::read(&file("manifest.json", bytes)) {
        manifest.write(std::io::sink()).expect("what was read can be written");
    }
}

fn marker(bytes: &[u8]) {
    let mut sector = [0; 512];
    let len = bytes.len().min(512);
    sector[..len].copy_from_slice(&bytes[..len]);
    let _ = install::marker::Marker::parse(&sector);
}

fn refind_conf(bytes: &[u8]) {
    let given = text_of(bytes);
    let _ = refind::check("fuzzed", &given, "boot", &["boot/vmlinuz-6.12", "boot/init-6.12.gz"]);
    let _ = refind::version(&given);
}

fn rule_set(bytes: &[u8]) {
    let text = text_of(bytes);
    let _ = RuleSet::parse("fuzzed", DescriptorSource { file: "fuzzed.toml", text: &text });
}

fn squashfs(bytes: &[u8]) {
    let _ = squashfs::info(Cursor::new(bytes));
    let _ = squashfs::list(Cursor::new(bytes));
    let _ = squashfs::check_files(Cursor::new(bytes), &[]);
}

fn ssh_key(bytes: &[u8]) {
    let _ = persist::PublicKeys::parse("fuzzed", "authorized_keys", &text_of(bytes));
}

fn sums(bytes: &[u8]) {
    let image = file("disk.img.gz", b"");
    file("disk.img.gz.sha256", bytes);
    let _ = sum_beside(&image);
}

/// The first half of the input begins a medium and the second ends it, where the backup of a GPT is.
fn partition_table(bytes: &[u8]) {
    let medium = Memory::new(8 << 20);
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let tail = &tail[..tail.len().min(1 << 20)];
    medium.write_at(&head[..head.len().min(1 << 20)], 0).expect("it has room");
    medium.write_at(tail, (8 << 20) - tail.len() as u64).expect("it has room");
    let Ok(Some(found)) = table::read(&medium) else { return };
    let room = table::room(&medium, &found).ok().and_then(Result::ok);
    if let Ok(Ok(fitted)) = table::fit(&medium, &found, room.as_ref()) {
        let inside = |piece: &table::TableBytes| piece.offset + piece.bytes.len() as u64 <= 8 << 20;
        assert!(fitted.pieces.iter().all(inside), "the table is on the medium");
    }
}

fn tar(bytes: &[u8]) {
    read_members(&file("rootfs.tar", bytes));
}

fn tar_compressed(bytes: &[u8]) {
    for name in ["rootfs.tar.gz", "rootfs.tar.xz", "rootfs.tar.zst", "rootfs.tar.bz2"] {
        read_members(&file(name, bytes));
    }
}

fn read_members(path: &Path) {
    let Ok(tree) = read_archive(path) else { return };
    for (_, id) in tree.walk() {
        if let Body::File(content) = &tree.node(id).body
            && content.len() < 1 << 20
        {
            let _ = content.read_all();
        }
    }
}

fn uimage(bytes: &[u8]) {
    let mut data = Vec::new();
    if uimage::parse(&mut &*bytes, &mut data).is_ok() {
        let _ = uimage::script_text(&data);
    }
}

/// One text as a unit, as presets and as what enables it.
fn units(bytes: &[u8]) {
    let stat = |mode| Stat { mode, uid: 0, gid: 0, mtime: 0 };
    let mut tree = Tree::new(stat(0o755));
    for path in
        ["usr", "usr/lib", "usr/lib/systemd", "usr/lib/systemd/system", "usr/lib/systemd/system-preset"]
    {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = tree.get(parent).expect("it was made before");
        tree.insert(parent, name.as_bytes(), Node::new(stat(0o755), Body::Dir(BTreeMap::default())));
    }
    for (directory, names) in
        [("system", &["a.service", "b@.service", "c.socket"][..]), ("system-preset", &["50-fuzzed.preset"])]
    {
        let parent = tree.get(format!("usr/lib/systemd/{directory}")).expect("it was made");
        for name in names {
            let body = Body::File(Content::bytes(bytes.to_vec()));
            tree.insert(parent, name.as_bytes(), Node::new(stat(0o644), body));
        }
    }
    let _ = presets::preset_all(&mut tree, &mut Default::default(), 0);
}

fn users_table(bytes: &[u8]) {
    let _ = UsersTable::parse(Path::new("fuzzed"), &text_of(bytes));
}
