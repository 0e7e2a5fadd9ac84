# The firmware wants FAT, and its partition is labelled in capitals, as labels of FAT are.
BOOT_DEVICE="LABEL=BOOT"
