//! An image as a root: checked, attached, mounted, and covered with memory that takes the changes.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::choice::{alternatives, stated_digest, with_suffix};
use super::console;
use super::failure::{Failure, Result};
use super::loopdev;
use super::mounts::{make_directory, mount, unmount};
use super::options::Options;

const OVERLAYS: &str = "/skiff-overlays";
const IMAGE: &str = "/skiff-overlays/image";
const CHANGES: &str = "/skiff-overlays/system-tmp";
const SYSTEM: &str = "/skiff-overlays/system";

/// Large enough to keep a card reader busy.
const CHUNK: usize = 1 << 20;

/// A root that is ready to be moved to `/`. What is mounted for it goes away with it.
pub struct Root {
    pub at: &'static Path,
    pub init: PathBuf,
    mounted: Vec<&'static Path>,
}

impl Drop for Root {
    fn drop(&mut self) {
        self.mounted.iter().rev().for_each(|at| unmount(at));
    }
}

impl Root {
    /// Makes a root of an image.
    pub fn new(image: &Path, options: &Options, inits: &[PathBuf]) -> Result<Root> {
        let mut file = File::open(image).map_err(|source| Failure::Read { path: image.into(), source })?;
        if options.verify {
            verify(image, &mut file)?;
        }
        make_directory(Path::new(OVERLAYS), 0o700)?;
        let mut root = Root { at: Path::new(SYSTEM), init: PathBuf::new(), mounted: Vec::new() };
        root.mount_image(image, &file)?;
        root.mount_overlay(&options.overlay_size)?;
        root.init = root.find_init(inits).ok_or_else(|| no_init(image, inits))?;
        Ok(root)
    }

    fn mount_image(&mut self, image: &Path, file: &File) -> Result<()> {
        let device = loopdev::attach(file).map_err(|source| Failure::Loop { image: image.into(), source })?;
        console::info(format_args!("`{}` is attached to `{}`", image.display(), device.path.display()));
        let device = device.path.to_string_lossy().into_owned();
        self.mount(&device, IMAGE, "squashfs", MountFlags::RDONLY, "")
    }

    fn mount_overlay(&mut self, size: &str) -> Result<()> {
        self.mount("tmpfs", CHANGES, "tmpfs", MountFlags::empty(), &format!("size={size},mode=0755"))?;
        let (upper, work) = (format!("{CHANGES}/upper"), format!("{CHANGES}/work"));
        make_directory(Path::new(&upper), 0o755)?;
        make_directory(Path::new(&work), 0o755)?;
        let options = format!("lowerdir={IMAGE},upperdir={upper},workdir={work}");
        self.mount("overlay", SYSTEM, "overlay", MountFlags::empty(), &options)
    }

    fn mount(
        &mut self,
        what: &str,
        at: &'static str,
        kind: &str,
        flags: MountFlags,
        options: &str,
    ) -> Result<()> {
        make_directory(Path::new(at), 0o755)?;
        mount(what, Path::new(at), kind, flags, options)?;
        self.mounted.push(Path::new(at));
        Ok(())
    }

    fn find_init(&self, inits: &[PathBuf]) -> Option<PathBuf> {
        inits.iter().find(|init| self.can_start(init)).cloned()
    }

    /// Returns whether a program is there and its first bytes can be read; links lead where they will once this is
    /// `/`.
    fn can_start(&self, program: &Path) -> bool {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = |root| rustix::fs::openat2(root, program, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        let root = rustix::fs::openat(CWD, self.at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        match root.and_then(open) {
            Ok(file) => File::from(file).read_exact(&mut [0; 2]).is_ok(),
            // Before Linux 5.6 links cannot be followed this way; the start of the program will show it.
            Err(Errno::NOSYS) => fs::symlink_metadata(self.at.join(relative(program))).is_ok(),
            Err(_) => false,
        }
    }

    /// A path in this root, as it is reached from the old one.
    pub fn path(&self, inside: &Path) -> PathBuf {
        self.at.join(relative(inside))
    }

    /// Lets the mounts stay: they are about to be `/`.
    pub fn keep(mut self) -> PathBuf {
        self.mounted.clear();
        self.init.clone()
    }
}

fn no_init(image: &Path, inits: &[PathBuf]) -> Failure {
    Failure::NoInit { image: image.into(), tried: alternatives(inits) }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Compares an image with the digest that its sidecar states.
fn verify(image: &Path, file: &mut File) -> Result<()> {
    let sidecar = with_suffix(image, ".blake3");
    let text =
        fs::read_to_string(&sidecar).map_err(|source| Failure::Read { path: sidecar.clone(), source })?;
    let stated = stated_digest(&text).ok_or(Failure::NoDigest { sidecar })?;
    let found = digest(file).map_err(|source| Failure::Read { path: image.into(), source })?;
    if found != stated {
        return Err(Failure::Digest { image: image.into(), found, stated });
    }
    console::info(format_args!("`{}` has the digest that is stated", image.display()));
    Ok(())
}

fn digest(file: &mut File) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finalize().to_string()),
            count => hasher.update(&chunk[..count]),
        };
    }
}
