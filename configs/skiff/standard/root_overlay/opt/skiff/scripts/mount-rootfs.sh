#!/bin/sh
# Mounts the boot partition, where a board wants that, and what lies beside the system: its kernel modules.
set -eu
. /opt/skiff/scripts/settings.sh

if [ -e "$SKIP_MOUNT_FLAG" ]; then
    say "$SKIP_MOUNT_FLAG: nothing is mounted"
    exit 0
fi
if [ "$MOUNT_BOOT_DEVICE" = true ]; then
    mount_at "$BOOT_MNT" "$BOOT_DEVICE" "$BOOT_MNT_FLAGS" "$BOOT_WAIT" "$BOOT_DEVICE_MKDIR"
fi
if [ -n "$ROOTFS_DEVICE" ]; then
    mount_at "$ROOTFS_MNT" "$ROOTFS_DEVICE" "$ROOTFS_MNT_FLAGS" "$ROOTFS_WAIT" "$ROOTFS_DEVICE_MKDIR"
fi
