#!/bin/sh
# The machine id and the host name that are in persist. An id is kept there from the first boot on. A host name is not:
# the default belongs to the image, and a later image may have another one.
set -eu
. /opt/skiff/scripts/settings.sh

is_machine_id() {
    printf '%s\n' "$1" | grep -Eqx '[0-9a-f]{32}'
}

# Written in place: systemd may have mounted a file of its own there.
restore_machine_id() {
    kept=$(cat "$SKIFF_PERSIST/machine-id" 2>/dev/null) || kept=
    current=$(cat /etc/machine-id 2>/dev/null) || current=
    if ! is_machine_id "$kept"; then
        if [ -n "$kept" ]; then
            complain "$SKIFF_PERSIST/machine-id is damaged and is replaced" "nothing to do: old journals stay under the old id"
        fi
        kept=$current
        is_machine_id "$kept" || kept=$(tr -d - </proc/sys/kernel/random/uuid)
        printf '%s\n' "$kept" >"$SKIFF_PERSIST/machine-id.new"
        mv "$SKIFF_PERSIST/machine-id.new" "$SKIFF_PERSIST/machine-id"
    fi
    if [ "$kept" != "$current" ]; then
        printf '%s\n' "$kept" >/etc/machine-id
    fi
}

set_hostname() {
    [ -s "$SKIFF_PERSIST/hostname" ] || return 0
    name=$(head -n 1 "$SKIFF_PERSIST/hostname" | tr -d '[:space:]')
    if ! printf '%s\n' "$name" | grep -Eqx '[A-Za-z0-9]([A-Za-z0-9.-]{0,63})'; then
        fail "$SKIFF_PERSIST/hostname: \`$name\` is no host name" "use 1 to 64 letters, digits, dots and hyphens"
    fi
    printf '%s\n' "$name" >/etc/hostname
    printf '%s\n' "$name" >/proc/sys/kernel/hostname
    touch /etc/hosts
    { grep -v '^127\.0\.1\.1[[:space:]]' /etc/hosts || [ $? -eq 1 ]; } >/etc/hosts.new
    printf '127.0.1.1\t%s\n' "$name" >>/etc/hosts.new
    cat /etc/hosts.new >/etc/hosts
    rm /etc/hosts.new
}

need_persist
mkdir -p "$SKIFF_PERSIST"
restore_machine_id
set_hostname
