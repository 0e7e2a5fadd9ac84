# The disk comes with all partitions; nothing is partitioned or formatted at boot.
export PERSIST_DEVICE="LABEL=persist"
export ROOTFS_DEVICE="LABEL=rootfs"
export BOOT_DEVICE="LABEL=boot"
