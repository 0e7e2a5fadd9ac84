# The kernel modules lie beside the kernel, on the boot partition.
MOUNT_BOOT_DEVICE="true"
ROOTFS_DEVICE="/mnt/boot/rootfs"
ROOTFS_MNT_FLAGS="--rbind"
ROOTFS_DEVICE_MKDIR="true"
