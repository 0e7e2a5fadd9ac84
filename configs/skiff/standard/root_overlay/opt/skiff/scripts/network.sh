#!/bin/sh
# Connections of NetworkManager: those of the image, under those of persist, where changes go.
set -eu
. /opt/skiff/scripts/settings.sh

connections=/etc/NetworkManager/system-connections

# NetworkManager ignores files that others can read: they hold passwords. What the image has is changed before it is
# mounted over: a change through the overlay would copy the file to persist, and no newer image could bring a newer one.
close_to_others() {
    chmod 0700 "$@"
    find "$@" -type f ! -perm 0600 -exec chmod 0600 {} +
}

need_persist
mkdir -p "$CONNECTIONS_PERSIST" "$SKIFF_OVERLAYS/nm_connections" "$connections"
if mountpoint -q "$connections"; then
    close_to_others "$connections"
else
    close_to_others "$connections" "$CONNECTIONS_PERSIST"
    mount -t overlay -o "lowerdir=$connections,upperdir=$CONNECTIONS_PERSIST,workdir=$SKIFF_OVERLAYS/nm_connections" \
        skiff-connections "$connections"
fi
