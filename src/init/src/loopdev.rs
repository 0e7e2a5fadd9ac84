//! Loop devices: a file as a block device.
//!
//! `LOOP_CONFIGURE` (Linux 5.8) attaches and configures in one step; older kernels need two. The numbers and
//! structures are those of Linux' `include/uapi/linux/loop.h`.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};

use super::mounts::is;

const LOOP_SET_FD: Opcode = 0x4c00;
const LOOP_CLR_FD: Opcode = 0x4c01;
const LOOP_SET_STATUS64: Opcode = 0x4c04;
const LOOP_CONFIGURE: Opcode = 0x4c0a;
const LOOP_CTL_GET_FREE: Opcode = 0x4c82;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// Somebody else may take the free device first; and once more.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    lo_device: u64,
    lo_inode: u64,
    lo_rdevice: u64,
    lo_offset: u64,
    lo_sizelimit: u64,
    lo_number: u32,
    lo_encrypt_type: u32,
    lo_encrypt_key_size: u32,
    lo_flags: u32,
    lo_file_name: [u8; 64],
    lo_crypt_name: [u8; 64],
    lo_encrypt_key: [u8; 32],
    lo_init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo64>() == 232 && size_of::<LoopConfig>() == 304);

/// Attached, until it is closed here and unmounted.
pub struct Loop {
    pub path: PathBuf,
    _device: File,
}

/// Attaches `image`, read-only, to a free loop device. The device lets go of it when the last user is gone.
pub fn attach(image: &File) -> io::Result<Loop> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    for _ in 1..TRIES {
        match attach_to_free(&control, image) {
            Err(error) if is(&error, Errno::BUSY) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    attach_to_free(&control, image)
}

fn attach_to_free(control: &File, image: &File) -> io::Result<Loop> {
    // SAFETY: the call has no argument, and gives a number; `FreeNumber` says the same.
    let number = unsafe { ioctl::ioctl(control, FreeNumber)? };
    let path = PathBuf::from(format!("/dev/loop{number}"));
    let device = File::open(&path)?;
    match configure(&device, image) {
        // What kernels before 5.8 say to a request that they do not know.
        Err(Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => set(&device, image)?,
        done => done?,
    }
    Ok(Loop { path, _device: device })
}

fn configure(device: &File, image: &File) -> rustix::io::Result<()> {
    let fd = image.as_raw_fd().cast_unsigned();
    let config = LoopConfig { fd, block_size: 0, info: info(), reserved: [0; 8] };
    // SAFETY: `LOOP_CONFIGURE` reads a `struct loop_config`, which `LoopConfig` is, and keeps no pointer to it.
    unsafe { ioctl::ioctl(device, ioctl::Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) }
}

fn set(device: &File, image: &File) -> rustix::io::Result<()> {
    // SAFETY: `LOOP_SET_FD` takes a file descriptor as its argument, not a pointer.
    unsafe {
        ioctl::ioctl(device, ioctl::IntegerSetter::<LOOP_SET_FD>::new_usize(number(image.as_raw_fd())))?
    };
    // SAFETY: `LOOP_SET_STATUS64` reads a `struct loop_info64`, which `LoopInfo64` is, and keeps no pointer to it.
    let done = unsafe { ioctl::ioctl(device, ioctl::Setter::<LOOP_SET_STATUS64, LoopInfo64>::new(info())) };
    if done.is_err() {
        // SAFETY: `LOOP_CLR_FD` has no argument.
        let _ = unsafe { ioctl::ioctl(device, ioctl::NoArg::<LOOP_CLR_FD>::new()) };
    }
    done
}

/// A file descriptor as an argument; it is never negative.
fn number(fd: RawFd) -> usize {
    fd.cast_unsigned() as usize
}

fn info() -> LoopInfo64 {
    LoopInfo64 {
        lo_device: 0,
        lo_inode: 0,
        lo_rdevice: 0,
        lo_offset: 0,
        lo_sizelimit: 0,
        lo_number: 0,
        lo_encrypt_type: 0,
        lo_encrypt_key_size: 0,
        lo_flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
        lo_file_name: [0; 64],
        lo_crypt_name: [0; 64],
        lo_encrypt_key: [0; 32],
        lo_init: [0; 2],
    }
}

/// `LOOP_CTL_GET_FREE`: no argument, the answer is what the call returns.
struct FreeNumber;

// SAFETY: the request has no argument, so nothing is read or written; what it returns is a number.
unsafe impl Ioctl for FreeNumber {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<IoctlOutput> {
        Ok(output)
    }
}
