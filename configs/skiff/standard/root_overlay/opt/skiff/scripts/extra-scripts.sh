#!/bin/sh
# Runs what layers have in mount-all.d, each within a bound, all of them even if one fails.
set -eu
. /opt/skiff/scripts/settings.sh

mkdir -p "${SKIFF_ENV_FILE%/*}"
for name in BOOT_DEVICE BOOT_MNT PERSIST_DEVICE PERSIST_MNT PERSIST_ROOT ROOTFS_DEVICE ROOTFS_MNT SKIFF_PERSIST SKIFF_OVERLAYS; do
    eval "printf '%s=\"%s\"\\n' $name \"\$$name\""
done >"$SKIFF_ENV_FILE"

wrong=
for script in "$EXTRA_SCRIPTS_DIR"/*.sh; do
    [ -f "$script" ] || continue
    status=0
    timeout "$EXTRA_SCRIPT_WAIT" "$script" || status=$?
    [ "$status" -ne 0 ] || continue
    wrong=yes
    if [ "$status" -eq 124 ]; then
        complain "$script was stopped after $EXTRA_SCRIPT_WAIT s" "set EXTRA_SCRIPT_WAIT in /etc/skiff/mount.env if it needs longer"
    else
        complain "$script failed with status $status" "run it by hand: what it wrote is above"
    fi
done
[ -z "$wrong" ]
