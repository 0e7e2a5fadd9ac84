#!/bin/sh
# Grows the persist partition and its filesystem to the end of the medium. Does nothing when both fill it already.
set -eu
. /opt/skiff/scripts/settings.sh

# Behind the last partition there is at most this much: the second table of GPT, and what alignment leaves.
readonly SPARE_SECTORS=4096

# sectors NAME ATTRIBUTE: an attribute of a block device, in units of 512 bytes.
sectors() {
    cat "/sys/class/block/$1/$2"
}

# end_of NAME: the sector behind a partition.
end_of() {
    echo $(($(sectors "$1" start) + $(sectors "$1" size)))
}

# is_last_on DISK NAME: no other partition lies behind it.
is_last_on() {
    own=$(end_of "$2")
    for other in "/sys/class/block/$1/$1"*; do
        [ -e "$other/partition" ] || continue
        [ "$(end_of "${other##*/}")" -le "$own" ] || return 1
    done
}

grow_partition() {
    [ -e "/sys/class/block/$name/partition" ] || return 0
    number=$(cat "/sys/class/block/$name/partition")
    disk=$(basename "$(readlink -f "/sys/class/block/$name/..")")
    free=$(($(sectors "$disk" size) - $(end_of "$name")))
    [ "$free" -gt "$SPARE_SECTORS" ] || return 0
    if ! is_last_on "$disk" "$name"; then
        say "/dev/$name is not the last partition on /dev/$disk and cannot grow"
        return 0
    fi
    say "growing /dev/$name by up to $((free / 2048)) MiB"
    # Written without asking the kernel to read the table again, which it would refuse: the partition is in use.
    echo ', +' | sfdisk --quiet --no-reread --no-tell-kernel -N "$number" "/dev/$disk"
    partx --update --nr "$number" "/dev/$disk"
}

need_persist
if [ "$DISABLE_RESIZE_PERSIST" = true ]; then
    exit 0
fi
# By its number: the kernel calls the device that it mounted itself /dev/root, which is no file.
number=$(findmnt -nr -o MAJ:MIN --target "$PERSIST_MNT")
name=$(basename "$(readlink -f "/sys/dev/block/$number")")
device=/dev/$name
kind=$(findmnt -n -o FSTYPE --target "$PERSIST_MNT")
case $kind in
    ext[234]) ;;
    *)
        say "persist is $kind, which is not grown"
        exit 0
        ;;
esac
[ "$DISABLE_RESIZE_PARTITION" = true ] || grow_partition
# resize2fs looks for the device in /proc/mounts, and grows what is mounted only if it finds it there.
if grep -q '^/dev/root ' /proc/mounts && [ ! -e /dev/root ]; then
    ln -s "$name" /dev/root
fi
if ! said=$(resize2fs "$device" 2>&1); then
    fail "the filesystem on $device did not grow: $said" "it can be used as it is; run resize2fs $device by hand"
fi
