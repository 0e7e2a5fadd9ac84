# shellcheck shell=sh
# Sourced by every script here: where things are, what boards change, how failures are told.
#
# Later ones win: the defaults below, /etc/skiff/mount.env, mount-all.pre.d/*.sh in order of their names. All of them
# are shell text that sets variables. A device is LABEL=, UUID=, PARTLABEL=, PARTUUID= or a path; with `--rbind` as flags
# it is a directory.
#
# shellcheck disable=SC2034 # used by the scripts that source this

step=${0##*/}
step=${step%.sh}
told=

# say MESSAGE: one line for the journal and, as the units are set up, the console.
say() {
    printf 'skiff: %s: %s\n' "$step" "$1" >&2
}

# complain MESSAGE HINT: tells a failure; the script goes on.
complain() {
    say "$1"
    printf 'hint: %s\n' "$2" >&2
    told=yes
}

# fail MESSAGE HINT: tells a failure; the script ends.
fail() {
    complain "$1" "$2"
    exit 1
}

# No script of `set -eu` ends without a word.
at_exit() {
    status=$?
    if [ "$status" -ne 0 ] && [ -z "$told" ]; then
        say "stopped with status $status${sourcing:+ in $sourcing}"
    fi
    exit "$status"
}
trap at_exit EXIT

set -a
PERSIST_DEVICE=LABEL=persist
PERSIST_MNT=/mnt/persist
PERSIST_MNT_FLAGS=
PERSIST_SUBDIR=
# Seconds until a missing medium is told.
PERSIST_WAIT=30

ROOTFS_DEVICE=LABEL=rootfs
ROOTFS_MNT=/mnt/rootfs
ROOTFS_MNT_FLAGS=
ROOTFS_DEVICE_MKDIR=
ROOTFS_WAIT=30

MOUNT_BOOT_DEVICE=
BOOT_DEVICE=LABEL=boot
BOOT_MNT=/mnt/boot
BOOT_MNT_FLAGS=
BOOT_DEVICE_MKDIR=
BOOT_WAIT=30

# Paths to wait for before anything is mounted, separated by spaces, and for how many seconds.
WAIT_PATHS_EXIST=
WAIT_PATHS_SECONDS=30

DISABLE_RESIZE_PERSIST=
DISABLE_RESIZE_PARTITION=

# Seconds that each of mount-all.d/*.sh may take.
EXTRA_SCRIPT_WAIT=60

SKIP_MOUNT_FLAG=/etc/skip-skiff-mounts
SKIP_JOURNAL_FLAG=/etc/skip-skiff-journal-mounts
SKIFF_RELEASE_FILE=/etc/skiff-release
SKIFF_ENV_FILE=/etc/skiff/env
PRE_SCRIPTS_DIR=/opt/skiff/scripts/mount-all.pre.d
EXTRA_SCRIPTS_DIR=/opt/skiff/scripts/mount-all.d

for sourcing in /etc/skiff/mount.env "$PRE_SCRIPTS_DIR"/*.sh; do
    if [ -f "$sourcing" ]; then
        # shellcheck disable=SC1090 # whichever files there are
        . "$sourcing"
    fi
done
unset sourcing

PERSIST_ROOT=$PERSIST_MNT${PERSIST_SUBDIR:+/$PERSIST_SUBDIR}
SKIFF_PERSIST=$PERSIST_ROOT/skiff
SKIFF_OVERLAYS=$PERSIST_ROOT/skiff-overlays
KEYS_PERSIST=$SKIFF_PERSIST/keys
SSH_PERSIST=$SKIFF_PERSIST/ssh
JOURNAL_PERSIST=$SKIFF_PERSIST/journal
CONNECTIONS_PERSIST=$SKIFF_PERSIST/connections
ETC_PERSIST=$SKIFF_PERSIST/etc
set +a

# find_device DEVICE: prints the path of a device that is there.
find_device() {
    case $1 in
        *=*) findfs "$1" 2>/dev/null ;;
        *) [ -e "$1" ] && printf '%s\n' "$1" ;;
    esac
}

# wait_for_device DEVICE SECONDS: as find_device, but it need not be there at once.
wait_for_device() {
    waited=0
    until find_device "$1"; do
        [ "$waited" -lt "$2" ] || return 1
        sleep 1
        waited=$((waited + 1))
    done
}

# persist_is_there: mounted, or given by whoever started this container.
persist_is_there() {
    mountpoint -q "$PERSIST_MNT" || { [ -e "$SKIP_MOUNT_FLAG" ] && [ -d "$PERSIST_MNT" ]; }
}

# need_persist: ends the script without persist.
need_persist() {
    persist_is_there || fail "$PERSIST_MNT is not mounted" "see what skiff-persist.service says; without it nothing is kept"
}

# mount_at MOUNTPOINT DEVICE FLAGS SECONDS MKDIR: mounts a device within a bound, once.
mount_at() {
    ! mountpoint -q "$1" || return 0
    mkdir -p "$1"
    if [ "$5" = true ]; then
        mkdir -p "$2"
    fi
    if ! found=$(wait_for_device "$2" "$4"); then
        fail "no device $2 for $1 after $4 s" "check the medium and its label (blkid), or set the device in $PRE_SCRIPTS_DIR"
    fi
    # shellcheck disable=SC2086 # flags are words
    if ! mount $3 "$found" "$1"; then
        fail "$found cannot be mounted on $1" "check the filesystem: fsck -n $found"
    fi
}
