#!/bin/sh
# Mounts what outlives a boot.
set -eu
. /opt/skiff/scripts/settings.sh

if [ -e "$SKIP_MOUNT_FLAG" ]; then
    say "$SKIP_MOUNT_FLAG: nothing is mounted"
else
    for path in $WAIT_PATHS_EXIST; do
        if ! wait_for_device "$path" "$WAIT_PATHS_SECONDS" >/dev/null; then
            fail "no $path after $WAIT_PATHS_SECONDS s" "correct WAIT_PATHS_EXIST in $PRE_SCRIPTS_DIR"
        fi
    done
    mount_at "$PERSIST_MNT" "$PERSIST_DEVICE" "$PERSIST_MNT_FLAGS" "$PERSIST_WAIT" ""
fi
need_persist
mkdir -p "$PERSIST_ROOT/internal" "$KEYS_PERSIST" "$ETC_PERSIST" "$SKIFF_OVERLAYS"
