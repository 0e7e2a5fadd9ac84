# The system lies on the FAT partition, which skiff-init mounted; the modules are in a directory of it.
MOUNT_BOOT_DEVICE="true"
ROOTFS_DEVICE="/mnt/boot/rootfs"
ROOTFS_MNT_FLAGS="--rbind"
ROOTFS_DEVICE_MKDIR="true"
