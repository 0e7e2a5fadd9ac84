//! Calls to a user in a container give what the same calls give to a user of the host.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::{Host, SHARED, parts};
use crate::sandbox::{Machine, on_a_machine};

/// Commands whose status and output must be the same.
const SAME: [&str; 16] = [
    "exit 5",
    "true",
    "echo out; echo err >&2; exit 3",
    "kill -9 $$",
    "kill -TERM $$",
    "no-such-command",
    "sh -c 'exit 200'",
    "echo \"a  'b' $((1 + 2)) \\\\ *x\"",
    "cat",
    "echo $LANG $LC_TIME",
    "echo ${SSH_CONNECTION%% *}",
    "head -c 100000 /dev/zero | cat",
    "echo $HOME | cut -c1-6; pwd | cut -c1-6",
    "test -t 0 || test -t 1 || echo no terminal",
    "exec 2>&-; exec 1>&-; sleep 0.1",
    "umask; ulimit -c",
];

#[test]
fn commands_give_what_they_give_on_the_host() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        // The container's first process says where it is; a user of the host has nothing of it.
        let (status, out, _) =
            host.run("core", "echo $FROM_CONTAINER; id; pwd; echo $HOME $USER $LOGNAME $SHELL");
        assert_eq!(status, Some(0));
        let expected = "yes\nuid=1000(core) gid=1000(core) groups=29(audio),100(users),1000(core)\n/home/core\n/home/core core core \
                        /bin/sh\n";
        assert_eq!(out, expected);
        for command in SAME {
            let call = |user: &str| {
                let mut ssh = host.ssh(user, &["-o", "SendEnv=LANG LC_TIME", command]);
                let output = ssh.env("LANG", "C.UTF-8").env("LC_TIME", "C").output();
                let (status, out, err) = parts(&output.expect("ssh starts"));
                // Shells have words of their own for what is not found.
                (status, out, if command.starts_with("no-such") { String::new() } else { err })
            };
            assert_eq!(call("core"), call("plain"), "{command}");
        }
        let (_, _, missing) = host.run("core", "no-such-command");
        assert!(missing.contains("not found"), "{missing}");
        // `admin` is whoever the image wants.
        assert_eq!(host.run("admin", "id -u; cd; pwd").1, "0\n/root\n");
        let (status, out, err) = host.run("lost", "id");
        assert_eq!((status, &*out), (Some(255), ""));
        let expected = "skiff-shell: container `box`: there is no user `nobody-there` in it\nhint: make it there, or set \
                        `createContainerUser: true`\n";
        assert_eq!(err, expected);
        host.wait_until_nothing_is_left();
        host.stop();
    });
}

#[test]
fn streams_are_the_very_ones_of_the_session() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        let big: Vec<u8> =
            (0..30_000_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let output = with_input(&host, "core", "cat", &big);
        assert!(output.status.success() && output.stdout == big, "{} bytes", output.stdout.len());
        // Input that nobody reads does not hold the end up.
        let output = with_input(&host, "core", "head -c 3; exit 4", &big);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(4), &big[..3]));
        // A login without a terminal reads commands; the profile was read before.
        let script = b"echo $FROM_PROFILE; pwd; exit 3\n";
        let output = with_input(&host, "core", "", script);
        assert_eq!(parts(&output), (Some(3), "yes\n/home/core\n".into(), String::new()));
        host.wait_until_nothing_is_left();
        host.stop();
    });
}

fn with_input(host: &Host<'_>, user: &str, command: &str, input: &[u8]) -> std::process::Output {
    let mut ssh = Command::new("ssh");
    ssh.args(host.options()).arg("-T").arg(format!("{user}@127.0.0.1"));
    if !command.is_empty() {
        ssh.arg(command);
    }
    let mut child =
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ssh starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it ends");
    output
}

/// Runs a script of the shell with a terminal of 31 rows and 91 columns; what is on it, and the status.
fn on_a_terminal(machine: &Machine, script: &str) -> (Option<i32>, String) {
    let path = machine.directory().join("script.sh");
    fs::write(&path, format!("stty rows 31 cols 91\n{script}")).expect("a file");
    let output = Command::new("script")
        .args(["-q", "-e", "-c"])
        .arg(format!("sh {}", path.display()))
        .arg("/dev/null")
        .stdin(Stdio::null())
        .output();
    let output = output.expect("script starts");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).replace('\r', "").replace("^@", ""))
}

#[test]
fn a_terminal_has_its_size_and_gets_a_new_one() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        let ssh = format!("ssh {} -tt", host.options().join(" "));
        for user in ["core", "plain"] {
            let call = format!(
                "{ssh} {user}@127.0.0.1 'until [ -n \"$(stty size 2>/dev/null)\" ]; do :; done; stty size; tty | cut -c1-9; test -t 2 && echo terminal; exit 6'"
            );
            assert_eq!(
                on_a_terminal(machine, &call),
                (Some(6), "31 91\n/dev/pts/\nterminal\n".into()),
                "{user}"
            );
            let began = format!("{SHARED}/began");
            let _ = fs::remove_file(&began);
            let inner = format!(
                "echo >{began}; until [ \"$(stty size 2>/dev/null)\" = \"40 100\" ]; do sleep 0.1; done; echo resized"
            );
            fs::set_permissions(SHARED, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("a mode");
            let call = format!(
                "(until [ -e {began} ]; do sleep 0.1; done; stty rows 40 cols 100 </dev/tty) & {ssh} {user}@127.0.0.1 '{inner}'"
            );
            assert_eq!(on_a_terminal(machine, &call), (Some(0), "resized\n".into()), "{user}");
        }
        // A login: keys go to the inner terminal alone, and it is put back as it was.
        let login = format!("printf 'echo $FROM_PROFILE; exit 3\\n' | {ssh} core@127.0.0.1; echo status $?");
        let (_, text) = on_a_terminal(machine, &login);
        assert!(text.contains("\nyes\n") && text.ends_with("status 3\n"), "{text}");
        host.wait_until_nothing_is_left();
        host.stop();
    });
}

#[test]
fn files_are_copied_in_all_ways() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        let big = machine.directory().join("big");
        let bytes: Vec<u8> =
            (0..3_000_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(&big, &bytes).expect("a file");
        let big = big.display().to_string();
        let options = host.options();
        let run = |command: &mut Command| {
            let output = command.stdin(Stdio::null()).output().expect("it starts");
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(Command::new("scp").args(&options).args([&big, "core@127.0.0.1:/tmp/scp"]));
        run(Command::new("scp").args(&options).args(["-O", &big, "core@127.0.0.1:/tmp/old-scp"]));
        let batch = machine.directory().join("batch");
        fs::write(&batch, format!("put {big} /tmp/sftp\nls /tmp\n")).expect("a file");
        run(Command::new("sftp").args(&options).arg("-q").arg("-b").arg(&batch).arg("core@127.0.0.1"));
        let shell = format!("ssh {}", options.join(" "));
        run(Command::new("rsync").args(["-q", "-e", &shell, &big, "core@127.0.0.1:/tmp/rsync"]));
        let back = machine.directory().join("back").display().to_string();
        run(Command::new("scp").args(&options).args(["core@127.0.0.1:/tmp/sftp", &back]));
        assert!(fs::read(&back).expect("a file") == bytes);
        let (status, out, err) = host.run(
            "core",
            "cd /tmp; for f in scp old-scp sftp rsync; do cmp $f scp && ls -n $f | cut -c1-10; done",
        );
        assert_eq!((status, out.lines().count()), (Some(0), 4), "{out}{err}");
        host.wait_until_nothing_is_left();
        host.stop();
    });
}

#[test]
fn su_and_login_lead_there_too() {
    on_a_machine(|machine| {
        let host = Host::start(machine);
        let su = |arguments: &[&str]| {
            parts(&Command::new("su").args(arguments).stdin(Stdio::null()).output().expect("su starts"))
        };
        assert_eq!(su(&["core", "-c", "id -un; exit 7"]), (Some(7), "core\n".into(), String::new()));
        assert_eq!(su(&["-", "core", "-c", "pwd"]), (Some(0), "/home/core\n".into(), String::new()));
        let (status, text) = on_a_terminal(machine, "echo 'id -un; exit 8' | su core; echo status $?");
        assert!(status == Some(0) && text.contains("core\nstatus 8\n"), "{text}");
        host.wait_until_nothing_is_left();
        host.stop();
    });
}
