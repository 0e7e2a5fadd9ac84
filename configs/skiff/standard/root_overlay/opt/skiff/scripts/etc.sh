#!/bin/sh
# Lays the files of persist over /etc. A file that is removed there is back to the one of the image after the next boot.
set -eu
. /opt/skiff/scripts/settings.sh

# lay ENTRY: a file or directory with all in it. A file replaces the link that the image has there, not what that leads to.
# What a container has mounted over cannot be replaced, and is written in place.
lay() {
    rsync -a "$1" /etc/ 2>/dev/null || rsync -a --inplace "$1" /etc/
}

need_persist
wrong=
for entry in "$ETC_PERSIST"/* "$ETC_PERSIST"/.[!.]*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then
        if ! said=$(lay "$entry" 2>&1); then
            complain "$entry is not wholly laid over /etc: $said" "correct it there; the other entries are in place"
            wrong=yes
        fi
    fi
done
if [ -d "$ETC_PERSIST/systemd" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
[ -z "$wrong" ]
