# The system is a squashfs on the boot partition, which skiff-init mounted.
BOOT_DEVICE="LABEL=BOOT"
