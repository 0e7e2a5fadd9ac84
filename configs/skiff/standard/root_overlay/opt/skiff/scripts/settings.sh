# shellcheck shell=sh
# Sourced by every script here: the settings that read-settings.sh has made, and how failures are reported.
#
# shellcheck disable=SC2154 # what read-settings.sh sets

step=${0##*/}
step=${step%.sh}
told=

# say MESSAGE: one line for the journal and, as the units are set up, the console.
say() {
    printf 'skiff: %s: %s\n' "$step" "$1" >&2
}

# note MESSAGE: the same, and status.sh shows it until the next boot.
note() {
    say "$1"
    mkdir -p /run/skiff
    printf '%s: %s\n' "$step" "$1" >>/run/skiff/problems
}

# complain MESSAGE HINT: reports a failure; the script goes on.
complain() {
    note "$1"
    printf 'hint: %s\n' "$2" >&2
    told=yes
}

# fail MESSAGE HINT: reports a failure; the script ends.
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

# Once in a boot; by hand before that only if a script is started without the units.
settings=/run/skiff/settings
[ -f "$settings" ] || /opt/skiff/scripts/read-settings.sh
sourcing=$settings
# shellcheck source=/dev/null # made by read-settings.sh
. "$settings"
sourcing=

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

# check_filesystem DEVICE: repairs what a power cut leaves. What needs a decision is reported, and mounting is tried.
check_filesystem() {
    [ -b "$1" ] || return 0
    case $(blkid -o value -s TYPE "$1") in
        ext[234]) checker="e2fsck -p" ;;
        vfat) checker="fsck.fat -a" ;;
        *) return 0 ;;
    esac
    status=0
    # shellcheck disable=SC2086 # a program and its option
    said=$($checker "$1" 2>&1) || status=$?
    # fsck(8): 1 and 2 are errors that were corrected, 4 errors that were not, the rest says nothing about the filesystem.
    if [ "$status" -ge 8 ]; then
        note "$1 cannot be checked ($checker, status $status): $said"
    elif [ "$status" -ge 4 ]; then
        complain "$1 is damaged, and $checker does not repair it (status $status): $said" "save what can be read, then run ${checker% *} $1 by hand"
    elif [ "$status" -ne 0 ]; then
        note "$1 was damaged and is repaired: $said"
    fi
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
    check_filesystem "$found"
    # shellcheck disable=SC2086 # flags are words
    if ! mount $3 "$found" "$1"; then
        fail "$found cannot be mounted on $1" "check the filesystem: fsck -n $found"
    fi
}
