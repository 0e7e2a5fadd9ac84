# The system lies on the FAT partition, which skiff-init mounted; the modules are in a directory of it.
MOUNT_BOOT_DEVICE="true"
BOOT_DEVICE="/dev/mmcblk0p1"
PERSIST_DEVICE="/dev/mmcblk0p2"
ROOTFS_DEVICE="/mnt/boot/rootfs"
ROOTFS_MNT_FLAGS="--rbind"
ROOTFS_DEVICE_MKDIR="true"
