//! A machine of its own for a test with containers: the test is run again in namespaces for mounts and processes.
//!
//! There `/run`, `/mnt`, `/home` and `/root` are empty, `/etc` is a copy that can be written, cgroups are those of version 1
//! alone (crun refuses a mixture), and podman listens at its usual place. When the test ends, everything ends.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::privilege::root;
use crate::skip::skip;

/// Tells the inner run which test it is.
const INSIDE: &str = "SKIFF_CORE_TEST_INSIDE";

/// Limits as this user may set them, and the network of the host: neither a bridge nor rules of a firewall are made.
const CONTAINERS_CONF: &str = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=10000:10000\"]\nnetns = \"host\"\n\
                               [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";

/// The machine inside.
pub struct Machine {
    directory: PathBuf,
    service: Child,
}

/// Runs `body` on a machine of its own.
pub fn on_a_machine(body: fn(&Machine)) {
    let thread = std::thread::current();
    let test = thread.name().expect("the harness names threads after tests").to_string();
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == *test) {
        let machine = Machine::start();
        body(&machine);
        return machine.stop();
    }
    if !root(&test) {
        return;
    }
    for tool in ["podman", "crun", "busybox"] {
        if !Command::new(tool).arg("--help").output().is_ok_and(|output| output.status.success()) {
            return skip(&test, &format!("needs `{tool}`"));
        }
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut inner = Command::new("unshare");
    inner.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    inner.arg(std::env::current_exe().expect("the test is a file")).args(["--exact", &test, "--nocapture"]);
    inner.env(INSIDE, &test).env("TMPDIR", directory.path()).env_remove("RUST_TEST_THREADS");
    let output = inner.stdin(Stdio::null()).output().expect("unshare starts");
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} failed inside, {}", output.status);
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{test} was not run inside");
}

impl Machine {
    fn start() -> Self {
        let directory = std::env::temp_dir();
        cgroups();
        // The program's own directory may be below one of these.
        for path in ["/run", "/mnt", "/home"] {
            rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"mode=755").expect("a mount");
        }
        writable_etc(&directory);
        login_shell(&directory);
        for path in ["/run/podman", "/run/sshd", "/mnt/persist/skiff/core", "/run/crun"] {
            fs::create_dir_all(path).expect("a directory");
        }
        let conf = directory.join("containers.conf");
        fs::write(&conf, CONTAINERS_CONF).expect("a file");
        let log = fs::File::create(directory.join("podman.log")).expect("a file");
        let mut service = podman(&directory);
        service.args(["system", "service", "--time=0", "unix:///run/podman/podman.sock"]);
        service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let machine = Self { service: service.spawn().expect("podman starts"), directory };
        machine.make_base();
        machine
    }

    /// Removes containers, whose groups would else stay on the host.
    fn stop(mut self) {
        let removed = podman(&self.directory).args(["rm", "--all", "--force", "--time=0"]).output();
        let removed = removed.expect("podman starts");
        assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
        self.service.kill().expect("it runs");
        self.service.wait().expect("it ends");
    }

    /// A directory of the test.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Archive of a root filesystem with busybox.
    pub fn base(&self) -> PathBuf {
        self.directory.join("base.tar")
    }

    fn make_base(&self) {
        let tree = self.directory.join("base");
        for path in ["bin", "etc", "root", "tmp", "home/core", "dev", "proc", "sys", "usr/bin", "var"] {
            fs::create_dir_all(tree.join(path)).expect("a directory");
        }
        fs::copy(which("busybox"), tree.join("bin/busybox")).expect("it is there");
        for applet in [
            "sh", "sleep", "cat", "id", "stty", "tty", "kill", "echo", "true", "pwd", "env", "ps", "head",
            "touch", "ls",
        ] {
            symlink("busybox", tree.join("bin").join(applet)).expect("a link");
        }
        for program in ["/usr/lib/openssh/sftp-server", "/usr/bin/scp", "/usr/bin/rsync"] {
            if Path::new(program).exists() {
                copy_program(program, &tree);
            }
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\ncore:x:1000:1000::/home/core:/bin/sh\n";
        fs::write(tree.join("etc/passwd"), passwd).expect("a file");
        fs::write(
            tree.join("etc/group"),
            "root:x:0:\ncore:x:1000:\naudio:x:29:core\nusers:x:100:other,core\n",
        )
        .expect("a file");
        fs::write(tree.join("etc/profile"), "export FROM_PROFILE=yes\n").expect("a file");
        fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("a mode");
        std::os::unix::fs::chown(tree.join("home/core"), Some(1000), Some(1000)).expect("an owner");
        let tar = Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(self.base()).arg(".").status();
        assert!(tar.expect("tar starts").success());
    }

    /// Podman's own command line, which knows nothing of ours.
    pub fn podman(&self, arguments: &[&str]) -> String {
        let output = podman(&self.directory).args(arguments).output().expect("podman starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).expect("text").trim().to_string()
    }

    /// Writes the configuration of the machine.
    pub fn configure(&self, text: &str) {
        fs::write("/mnt/persist/skiff/core/config.yaml", text).expect("a file");
    }

    /// Runs `skiff-core`; what it wrote, with the status before it.
    pub fn skiff_core(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("it starts");
        told(&output)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-core"));
        command.args(arguments).stdin(Stdio::null());
        command
    }
}

/// Status, standard output and standard error.
pub fn told(output: &Output) -> String {
    let status = output.status.code().map_or("killed".into(), |code| code.to_string());
    format!(
        "{status}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Waits for what comes soon on a machine that is not busy; fails after minutes.
pub fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(180);
    while !is() {
        assert!(Instant::now() < end, "{what} has not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn podman(directory: &Path) -> Command {
    let mut command = Command::new("podman");
    command.arg("--root").arg(directory.join("storage"));
    command.args(["--runroot", "/run/containers/storage", "--tmpdir", "/run/libpod"]);
    command.env("CONTAINERS_CONF", directory.join("containers.conf"));
    command
}

fn which(program: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").expect("there is a path");
    std::env::split_paths(&paths)
        .map(|path| path.join(program))
        .find(|path| path.is_file())
        .expect("it is there")
}

fn cgroups() {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .expect("root");
    let mixed = Path::new("/sys/fs/cgroup/unified");
    if mixed.is_dir() {
        rustix::mount::unmount(mixed, UnmountFlags::DETACH).expect("it is mounted");
    }
}

/// Copies a program and its libraries to the same places below `tree`.
fn copy_program(program: &str, tree: &Path) {
    let libraries = Command::new("ldd").arg(program).output().expect("ldd starts");
    let libraries = String::from_utf8(libraries.stdout).expect("text");
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain([program]) {
        let to = tree.join(&path[1..]);
        fs::create_dir_all(to.parent().expect("it is in a directory")).expect("a directory");
        fs::copy(path, to).expect("it is there");
    }
}

/// Puts a copy of `/etc` in its place; the last line of its `passwd` has no end.
fn writable_etc(directory: &Path) {
    let etc = directory.join("etc");
    assert!(Command::new("cp").arg("-a").arg("/etc").arg(&etc).status().expect("cp starts").success());
    let passwd = fs::read_to_string(etc.join("passwd")).expect("text");
    fs::write(etc.join("passwd"), passwd.trim_end()).expect("a file");
    rustix::mount::mount_bind(&etc, "/etc").expect("a mount");
}

/// Puts our program into `/usr/bin` as the login shell, in memory over what is there.
fn login_shell(directory: &Path) {
    let over = directory.join("over");
    fs::create_dir(&over).expect("a directory");
    rustix::mount::mount("tmpfs", &over, "tmpfs", MountFlags::empty(), c"mode=755").expect("a mount");
    for path in ["upper", "work"] {
        fs::create_dir(over.join(path)).expect("a directory");
    }
    fs::copy(env!("CARGO_BIN_EXE_skiff-core"), over.join("upper/skiff-shell")).expect("a copy");
    let options = format!("lowerdir=/usr/bin,upperdir={0}/upper,workdir={0}/work", over.display());
    let options = std::ffi::CString::new(options).expect("text");
    rustix::mount::mount("overlay", "/usr/bin", "overlay", MountFlags::empty(), &*options).expect("a mount");
}
