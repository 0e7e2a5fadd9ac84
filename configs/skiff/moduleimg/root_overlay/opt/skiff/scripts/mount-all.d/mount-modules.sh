#!/bin/sh
# Mounts the kernel modules that belong to this system on /usr/lib/modules.
image=${ROOTFS_MOUNT:-/mnt/rootfs}/modules.squashfs
if [ ! -f "$image" ]; then
    echo "skiff: $image is missing: no kernel modules" >&2
    exit 1
fi
exec mount -t squashfs -o loop,ro "$image" /usr/lib/modules
