#!/bin/sh
# Lays the files of persist over /etc. A file that is removed there is back to the one of the image after the next boot.
set -eu
. /opt/skiff/scripts/settings.sh

need_persist
for entry in "$ETC_PERSIST"/* "$ETC_PERSIST"/.[!.]*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then
        cp -a "$entry" /etc/
    fi
done
if [ -d "$ETC_PERSIST/systemd" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
