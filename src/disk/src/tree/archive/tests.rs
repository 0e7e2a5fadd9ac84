use std::os::unix::fs::FileExt;

use tar::{EntryType, Header};

use super::*;
use crate::tree::{Body, acl, display};

/// An archive with one PAX member `/etc/x` of 600 bytes and its end blocks.
fn sample() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_pax_extensions([("SCHILY.xattr.user.a%3Db", b"1\n2".as_slice()), ("mtime", b"-1.5")])
        .unwrap();
    let mut header = Header::new_ustar();
    header.set_size(600);
    header.set_mode(0o100_640);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(9);
    builder.append_data(&mut header, "./etc/x", [b'y'; 600].as_slice()).unwrap();
    builder.into_inner().unwrap()
}

fn read(bytes: &[u8]) -> (tempfile::NamedTempFile, Result<Tree, ArchiveError>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let tree = read_archive(file.path());
    (file, tree)
}

fn message(bytes: &[u8]) -> String {
    let (file, tree) = read(bytes);
    tree.unwrap_err().to_string().replace(file.path().to_str().unwrap(), "rootfs.tar")
}

#[test]
fn contents_are_ranges_of_the_archive() {
    let (_file, tree) = read(&sample());
    let tree = tree.unwrap();
    let node = tree.node(tree.get("etc/x").unwrap());
    assert_eq!(node.stat, Stat { mode: 0o640, uid: 7, gid: 8, mtime: -2 });
    assert_eq!(node.xattrs.get(b"user.a=b".as_slice()).unwrap(), &Box::from(b"1\n2".as_slice()));
    let Body::File(content) = &node.body else { panic!("a file") };
    assert_eq!(content.read_all().unwrap(), [b'y'; 600]);
    assert_eq!(tree.node(tree.get("etc").unwrap()).stat, IMPLIED);
}

#[test]
fn a_truncated_archive_names_the_member_and_both_lengths() {
    let bytes = sample();
    assert_eq!(
        message(&bytes[..2000]),
        "`rootfs.tar` is truncated: the member at byte 1024 (`/etc/x`) ends at byte 2136, the file at byte 2000"
    );
    assert_eq!(
        message(&bytes[..2560]),
        "`rootfs.tar` is truncated: it ends at byte 2560 without the end-of-archive block"
    );
    let (_file, error) = read(&bytes[..2000]);
    assert_eq!(error.unwrap_err().hint().unwrap(), "make the archive again, or copy it again");
}

#[test]
fn what_is_no_plain_archive_is_told() {
    assert_eq!(message(b"\x28\xb5\x2f\xfdxxxx"), "`rootfs.tar` is compressed with zstd");
    let (file, error) = read(b"\x28\xb5\x2f\xfdxxxx");
    let hint = format!("decompress it first: zstd -d `{}`", file.path().display());
    assert_eq!(error.unwrap_err().hint().unwrap(), hint);
    assert_eq!(message(b"hello"), "`rootfs.tar` is not a tar archive");
    let mut bytes = sample();
    bytes[1024 + 120] ^= 1;
    assert_eq!(message(&bytes), "`rootfs.tar`: member at byte 1024: the header checksum is wrong");
}

#[test]
fn damage_is_an_error_or_another_tree_but_no_panic() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes = sample();
    for at in 0..bytes.len() {
        for byte in [0, b'9', b'=', 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            // A valid checksum lets the damage reach the fields.
            for header in [0, 1024] {
                let block: &mut [u8] = &mut damaged[header..header + 512];
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                let field: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
                let text = format!("{:06o}\0 ", sum - field + 8 * 32);
                block[148..156].copy_from_slice(text.as_bytes());
            }
            file.as_file().write_all_at(&damaged, 0).unwrap();
            drop(read_archive(file.path()));
        }
    }
}

fn member(name: &[u8], kind: EntryType, link: &str) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    if !link.is_empty() {
        header.set_link_name(link).unwrap();
    }
    header.set_cksum();
    [header.as_bytes().as_slice(), &[0; 1024]].concat()
}

#[test]
fn members_that_cannot_be_placed_are_told() {
    let at = "`rootfs.tar`: member at byte 0: ";
    let escape = message(&member(b"../x", EntryType::Regular, ""));
    assert_eq!(escape, format!("{at}the name `../x` leads out of the tree"));
    let link = message(&member(b"x", EntryType::Link, "./y"));
    assert_eq!(link, format!("{at}a hard link to `/y`, which no earlier member is"));
    let label = message(&member(b"x", EntryType::new(b'V'), ""));
    assert_eq!(label, format!("{at}`/x` is stored as a member of type `V`, which is not supported"));
    let mut records = member(b"x", EntryType::XHeader, "");
    records[124..135].copy_from_slice(b"00000000005");
    let mut header = Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(&records[..512]);
    header.set_cksum();
    records[..512].copy_from_slice(header.as_bytes());
    records[512..517].copy_from_slice(b"9 a=b");
    assert_eq!(message(&records), format!("{at}the PAX records are malformed"));
    let mut nested = member(b"a", EntryType::Symlink, "b");
    nested.truncate(512);
    nested.extend(member(b"a/c", EntryType::Regular, ""));
    assert_eq!(
        message(&nested),
        "`rootfs.tar`: member at byte 512: its directory `/a` leads through a symbolic link"
    );
    let mut over = member(b"a/c", EntryType::Regular, "");
    over.truncate(512);
    let link = [over.clone(), member(b"a", EntryType::Link, "a/c")].concat();
    over.extend(member(b"a", EntryType::Regular, ""));
    let lost = |kind| {
        format!(
            "`rootfs.tar`: member at byte 512: the {kind} `/a` would replace a directory that is not empty (entries: 1)"
        )
    };
    assert_eq!((message(&over), message(&link)), (lost("file"), lost("hard link")));
    let root = message(&member(b"./", EntryType::Fifo, ""));
    assert_eq!(root, format!("{at}a fifo in the place of the root directory"));
}

/// Records, name and content.
type Given<'a> = (&'a [(&'a str, &'a [u8])], &'a [u8], &'a [u8]);

/// Members, and the blocks that end an archive.
fn archive(members: &[Given]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (records, name, content) in members {
        builder.append_pax_extensions(records.iter().copied()).unwrap();
        let mut header = Header::new_ustar();
        header.set_mode(0o670);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_entry_type(if name.ends_with(b"/") { EntryType::Directory } else { EntryType::Regular });
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

const LIST: &[u8] = b"user::rw-\nuser:joe:rwx\ngroup::r--\ngroup:70:-wx\nmask::rwx\nother::---\n";
const DEFAULTS: &[u8] = b"user::rwx,group::r-x,other::---";

#[test]
fn lists_have_the_ids_of_accounts_that_come_later() {
    let bytes = archive(&[
        (&[("SCHILY.acl.access", LIST)], b"secret", b"1"),
        (&[("SCHILY.acl.access", LIST), ("SCHILY.acl.default", DEFAULTS)], b"dir/", b""),
        (&[("SCHILY.acl.access", b"u::rw-,g::r--,o::---")], b"plain", b"1"),
        (&[], b"etc/passwd", b"root:x:0:0::/:/bin/sh\njoe:x:1001:1001::/:/bin/sh\n"),
    ]);
    let (_file, tree) = read(&bytes);
    let tree = tree.unwrap();
    let node = |path: &str| tree.node(tree.get(path).unwrap());
    let joe = acl::Acl::from_text(std::str::from_utf8(LIST).unwrap(), |_, _| Some(1001)).unwrap();
    assert_eq!(node("secret").xattrs.get(acl::ACCESS).map(|value| value.to_vec()), Some(joe.to_xattr()));
    assert_eq!((node("secret").stat.mode, acl::mode_without_list(node("secret"))), (0o670, 0o640));
    assert_eq!(
        node("dir").xattrs.keys().map(|name| &**name).collect::<Vec<_>>(),
        [acl::ACCESS, acl::DEFAULT]
    );
    assert_eq!((node("plain").stat.mode, node("plain").xattrs.len()), (0o640, 0), "a mode says all of it");
    assert_eq!(tree.omitted(), [""; 0]);
}

#[test]
fn what_no_tree_can_hold_is_counted() {
    let bytes = archive(&[
        (&[("SCHILY.acl.access", LIST), ("SCHILY.fflags", b"nodump")], b"a", b"1"),
        (&[("SCHILY.fflags", b"nodump")], b"b", b"1"),
        (&[("SCHILY.acl.default", DEFAULTS), ("LIBARCHIVE.thing", b"1")], b"c", b"1"),
    ]);
    let (_file, tree) = read(&bytes);
    let tree = tree.unwrap();
    assert_eq!(
        tree.omitted(),
        [
            "`/a` loses its access list: the access list names user `joe`, which has no id in the archive's account files",
            "`/c` loses the PAX record `LIBARCHIVE.thing`",
            "`/c` loses the default access list, which only directories have",
            "`/a` and 1 more lose the file flags `nodump`",
        ]
    );
    let mode = |path: &str| tree.node(tree.get(path).unwrap()).stat.mode;
    assert_eq!((mode("a"), mode("b")), (0o640, 0o670), "the mask is not left for the group");
}

#[test]
fn attributes_of_the_target_are_kept() {
    let names = ["security.ima", "security.selinux", "trusted.overlay.opaque", "com.example.note"];
    let keys = names.map(|name| format!("SCHILY.xattr.{name}"));
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"1"[..])).collect();
    let (_file, tree) = read(&archive(&[(&records, b"a", b"1")]));
    let tree = tree.unwrap();
    let kept: Vec<_> = tree.node(tree.get("a").unwrap()).xattrs.keys().map(|name| display(name)).collect();
    assert_eq!(kept, ["/com.example.note", "/security.ima", "/security.selinux", "/trusted.overlay.opaque"]);
    let broken = archive(&[(&[("SCHILY.xattr.system.posix_acl_access", b"1")], b"a", b"1")]);
    let told = "`rootfs.tar`: member at byte 1024: its extended attribute `system.posix_acl_access` is no access list";
    assert_eq!(message(&broken), told);
}

#[test]
fn members_without_data_may_state_a_size() {
    for (kind, name, link) in [
        (EntryType::Link, &b"b"[..], "a"),
        (EntryType::Symlink, b"b", "a"),
        (EntryType::Directory, b"b/", ""),
        (EntryType::Regular, b"b/", ""),
        (EntryType::Fifo, b"b", ""),
    ] {
        let mut odd = member(name, kind, link);
        odd.truncate(512);
        let mut header = Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(&odd);
        header.set_size(4096);
        header.set_cksum();
        let first = &member(b"a", EntryType::Regular, "")[..512];
        let bytes = [first, header.as_bytes(), &member(b"z", EntryType::Regular, "")].concat();
        let (_file, tree) = read(&bytes);
        let paths: Vec<_> = tree.unwrap().walk().map(|(path, _)| display(&path)).collect();
        assert_eq!(paths, ["/", "/a", "/b", "/z"], "{kind:?}");
    }
}

/// The runs of a content: `None` for a hole.
fn runs(content: &crate::tree::Content) -> Vec<(u64, Option<Vec<u8>>)> {
    let mut runs = Vec::new();
    let each = |run: crate::tree::Run<'_>| {
        runs.push(match run {
            crate::tree::Run::Data(bytes) => (bytes.len() as u64, Some(bytes.to_vec())),
            crate::tree::Run::Hole(len) => (len, None),
        });
        Ok::<_, crate::tree::ContentError>(())
    };
    content.for_each_run(each).unwrap();
    runs
}

#[test]
fn maps_of_every_sparse_format_are_read() {
    let real =
        [("GNU.sparse.name", &b"real"[..]), ("GNU.sparse.size", b"5000"), ("GNU.sparse.realsize", b"5000")];
    let zero =
        [("GNU.sparse.offset", &b"0"[..]), ("GNU.sparse.numbytes", b"5"), ("GNU.sparse.offset", b"4096")];
    let zero = [&real[..], &zero, &[("GNU.sparse.numbytes", b"3")]].concat();
    let one = [&real[..], &[("GNU.sparse.map", &b"0,5,4096,3,5000,0"[..])]].concat();
    let major = [&real[..], &[("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")]].concat();
    let mut mapped = b"2\n0\n5\n4096\n3\n".to_vec();
    mapped.resize(512, 0);
    mapped.extend(b"firstend");
    let members = [(&zero, &b"firstend"[..]), (&one, b"firstend"), (&major, &mapped)];
    for (records, content) in members {
        let (_file, tree) = read(&archive(&[(records, b"placeholder", content)]));
        let tree = tree.unwrap();
        let Body::File(content) = &tree.node(tree.get("real").unwrap()).body else { panic!("a file") };
        let data = |bytes: &[u8]| (bytes.len() as u64, Some(bytes.to_vec()));
        assert_eq!(runs(content), [data(b"first"), (4091, None), data(b"end"), (901, None)]);
        let whole = content.read_all().unwrap();
        assert_eq!((&whole[..6], &whole[4094..4100]), (&b"first\0"[..], &b"\0\0end\0"[..]));
    }
}

#[test]
fn maps_that_contradict_themselves_are_refused() {
    let told = |map: &[u8]| {
        let records = [("GNU.sparse.size", &b"5000"[..]), ("GNU.sparse.map", map)];
        message(&archive(&[(&records, b"a", b"firstend")]))
    };
    let at = "`rootfs.tar`: member at byte 1024: its sparse map";
    assert_eq!(told(b"0,5,4"), format!("{at} is malformed"));
    assert_eq!(told(b"0,5,4,x"), format!("{at} is malformed"));
    let order = |range| {
        format!(
            "`rootfs.tar`: member at byte 1024: bytes {range} of its sparse map are out of order or behind its end at 5000"
        )
    };
    assert_eq!(told(b"4096,5,0,3"), order("0+3"));
    assert_eq!(told(b"4999,5"), order("4999+5"));
    assert_eq!(told(b"18446744073709551615,5"), order("18446744073709551615+5"));
    assert_eq!(told(b"0,9"), format!("{at} wants 9 bytes of data, but 8 are stored"));
    let (_file, error) =
        read(&archive(&[(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")], b"a", b"")]));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .ends_with("`/a` is stored as a sparse file of format 2.0, which is not supported")
    );
}
