#!/bin/sh
# Mounts the kernel modules that belong to this system on /usr/lib/modules, and lets udev find what needs them.
set -eu

# On a medium with two slots they are those of the slot that was started, and no others.
slot=$(sed -n 's/.*\<skiffos\.slot=\([ab]\)\>.*/\1/p' /proc/cmdline)
image=${ROOTFS_MNT:-/mnt/rootfs}/${slot:+skiff/$slot/}modules.squashfs
! mountpoint -q /usr/lib/modules || exit 0
if [ ! -f "$image" ]; then
    echo "skiff: $image is missing: no kernel modules" >&2
    echo "hint: install the system again, or copy modules.squashfs of the same version there" >&2
    exit 1
fi
mount -t squashfs -o loop,ro "$image" /usr/lib/modules
if [ ! -d "/usr/lib/modules/$(uname -r)" ]; then
    echo "skiff: $image has no modules for the running kernel $(uname -r)" >&2
    echo "hint: kernel and modules must be of the same build: install both" >&2
    exit 1
fi
if [ -S /run/udev/control ]; then
    udevadm trigger --type=devices --action=add
fi
