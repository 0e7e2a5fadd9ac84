# One partition holds everything: the system in /boot and /rootfs of it, and what persists.
PERSIST_DEVICE="LABEL=persist"
ROOTFS_DEVICE="/mnt/persist/rootfs"
ROOTFS_MNT_FLAGS="--rbind"
ROOTFS_DEVICE_MKDIR="true"
BOOT_DEVICE="/mnt/persist/boot"
BOOT_MNT_FLAGS="--rbind"
BOOT_DEVICE_MKDIR="true"
