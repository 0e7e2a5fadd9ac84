use super::*;

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
}
