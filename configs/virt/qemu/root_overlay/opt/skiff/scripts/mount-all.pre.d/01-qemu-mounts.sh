# The disk comes with all partitions; nothing is partitioned or formatted at boot.
PERSIST_DEVICE="LABEL=persist"
ROOTFS_DEVICE="LABEL=rootfs"
BOOT_DEVICE="LABEL=boot"
