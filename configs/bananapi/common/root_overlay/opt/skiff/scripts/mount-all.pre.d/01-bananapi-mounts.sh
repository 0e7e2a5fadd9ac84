# The first partition is FAT and holds the system; everything else is on the second.
PERSIST_DEVICE="LABEL=persist"
ROOTFS_DEVICE="/mnt/persist/rootfs"
ROOTFS_MNT_FLAGS="--rbind"
ROOTFS_DEVICE_MKDIR="true"
