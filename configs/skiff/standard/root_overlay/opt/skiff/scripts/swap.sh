#!/bin/sh
# Compressed swap in memory first, then a file in persist. /etc/skiff/swap.env changes what is below.
set -eu
. /opt/skiff/scripts/settings.sh

# MiB; without a number half of the memory.
ZRAM_SIZE=
SWAPFILE_PATH=$PERSIST_ROOT/primary.swap
# MiB.
SWAPFILE_SIZE=2048
DISABLE_ZRAM=
DISABLE_SWAPFILE=
if [ -f /etc/skiff/swap.env ]; then
    # shellcheck source=/dev/null
    . /etc/skiff/swap.env
fi

in_use() {
    grep -q "^$1[[:space:]]" /proc/swaps
}

start_zram() {
    ! in_use /dev/zram0 || return 0
    if [ ! -b /dev/zram0 ] && ! modprobe zram; then
        complain "the kernel has no zram" "set DISABLE_ZRAM=true in /etc/skiff/swap.env, or build CONFIG_ZRAM"
        return 1
    fi
    if ! wait_for_device /dev/zram0 5 >/dev/null; then
        complain "no /dev/zram0 after 5 s" "set DISABLE_ZRAM=true in /etc/skiff/swap.env to do without"
        return 1
    fi
    memory=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
    size=${ZRAM_SIZE:-$((memory / 2048))}
    if ! { echo "${size}M" >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && swapon -p 100 /dev/zram0; }; then
        complain "no swap of $size MiB on /dev/zram0" "set ZRAM_SIZE in /etc/skiff/swap.env to less, in MiB"
        return 1
    fi
}

make_swapfile() {
    free=$(($(stat -f -c '%a * %S' "${SWAPFILE_PATH%/*}") / 1048576))
    # What persists is more important: half of the space is left to it.
    if [ "$free" -lt $((SWAPFILE_SIZE * 2)) ]; then
        say "no swap file: $SWAPFILE_SIZE MiB are more than half of the $free MiB that are free"
        return 0
    fi
    rm -f "$SWAPFILE_PATH.new"
    new=$SWAPFILE_PATH.new
    if ! { (umask 077 && fallocate -l "${SWAPFILE_SIZE}M" "$new") && mkswap "$new" >/dev/null && mv "$new" "$SWAPFILE_PATH"; }; then
        rm -f "$new"
        complain "$SWAPFILE_PATH cannot be made" "set DISABLE_SWAPFILE=true in /etc/skiff/swap.env to do without"
        return 1
    fi
}

start_swapfile() {
    ! in_use "$SWAPFILE_PATH" || return 0
    if ! persist_is_there; then
        say "no swap file: $PERSIST_MNT is not mounted"
        return 0
    fi
    [ -s "$SWAPFILE_PATH" ] || make_swapfile || return 1
    [ -s "$SWAPFILE_PATH" ] || return 0
    chmod 0600 "$SWAPFILE_PATH"
    if ! swapon -p 10 "$SWAPFILE_PATH"; then
        complain "$SWAPFILE_PATH cannot be used" "remove it: the next boot makes a new one"
        return 1
    fi
}

wrong=
[ "$DISABLE_ZRAM" = true ] || start_zram || wrong=yes
[ "$DISABLE_SWAPFILE" = true ] || start_swapfile || wrong=yes
[ -z "$wrong" ]
