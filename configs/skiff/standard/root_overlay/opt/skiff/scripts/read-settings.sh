#!/bin/sh
# Writes the settings of this boot to /run/skiff/settings, which all other scripts source.
#
# Later ones win: the defaults below, /etc/skiff/mount.env, mount-all.pre.d/*.sh in order of their names. All of them
# are shell text that sets variables, and are run once: by bash where there is one, because layers of SkiffOS use its
# arrays. One that fails is reported and changes nothing. A device is LABEL=, UUID=, PARTLABEL=, PARTUUID= or a path; with
# `--rbind` as flags it is a directory.
set -eu

settings=/run/skiff/settings
hooks=/opt/skiff/scripts/mount-all.pre.d
shell='sh'
! command -v bash >/dev/null || shell='bash'

defaults() {
    cat <<'TEXT'
PERSIST_DEVICE=LABEL=persist
PERSIST_MNT=/mnt/persist
PERSIST_MNT_FLAGS=
PERSIST_SUBDIR=
# Seconds until a missing medium is reported.
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

# Below PERSIST_MNT, unless they are set.
PERSIST_ROOT=
SKIFF_PERSIST=
SKIFF_OVERLAYS=
KEYS_PERSIST=
SSH_PERSIST=
JOURNAL_PERSIST=
CONNECTIONS_PERSIST=
ETC_PERSIST=
TEXT
}

# Names of all settings.
names() {
    defaults | sed -n 's/^\([A-Z_]*\)=.*/\1/p'
}

# Prints the settings after a file was sourced on top of those before; the arguments are that file, the file with those
# before, and the names. An array is its words.
evaluate=$(cat <<'TEXT'
file=$1 before=$2
shift 2
set -a
. "$before"
SKIFF_RUN_INIT_ACTIONS=true
set -e
. "$file" >&2
set +e
for name; do
    if [ -n "${BASH_VERSION-}" ]; then
        eval "value=\${$name[*]-}"
    else
        eval "value=\${$name-}"
    fi
    # A program for each of them would take a second on a slow board.
    case $value in
        (*\'*) value=$(printf '%s' "$value" | sed "s/'/'\\\\''/g") ;;
    esac
    printf "%s='%s'\n" "$name" "$value"
done
TEXT
)

apply() {
    status=0
    # shellcheck disable=SC2046 # names are words
    "$shell" -c "$evaluate" read-settings "$1" "$settings.new" $(names) >"$settings.next" || status=$?
    # A file that ends with `exit` has printed nothing.
    if [ -s "$settings.next" ]; then
        mv "$settings.next" "$settings.new"
        return 0
    fi
    rm -f "$settings.next"
    problem="read-settings: $1 ended with status $status before its end and changes nothing"
    printf '%s\n' "$problem" >>/run/skiff/problems
    printf 'skiff: %s\nhint: correct it in its layer\n' "$problem" >&2
}

mkdir -p /run/skiff
defaults >"$settings.new"
# There are the state record and the files of the slots, which skiff-update writes.
[ ! -f /etc/skiff/update.conf ] || printf 'MOUNT_BOOT_DEVICE=true\n' >>"$settings.new"
for file in /etc/skiff/mount.env "$hooks"/*.sh; do
    [ ! -f "$file" ] || apply "$file"
done
cat >>"$settings.new" <<'TEXT'
: "${PERSIST_ROOT:=$PERSIST_MNT${PERSIST_SUBDIR:+/$PERSIST_SUBDIR}}"
: "${SKIFF_PERSIST:=$PERSIST_ROOT/skiff}"
: "${SKIFF_OVERLAYS:=$PERSIST_ROOT/skiff-overlays}"
: "${KEYS_PERSIST:=$SKIFF_PERSIST/keys}"
: "${SSH_PERSIST:=$SKIFF_PERSIST/ssh}"
: "${JOURNAL_PERSIST:=$SKIFF_PERSIST/journal}"
: "${CONNECTIONS_PERSIST:=$SKIFF_PERSIST/connections}"
: "${ETC_PERSIST:=$SKIFF_PERSIST/etc}"
TEXT
{
    echo 'set -a'
    cat "$settings.new"
    echo 'set +a'
} >"$settings.next"
rm "$settings.new"
mv "$settings.next" "$settings"
