#!/bin/sh
# Buildroot's post-image script: puts U-Boot behind the first stages of the chip and signs it, with the files of
# amlogic-boot-fip, which Buildroot leaves in images/. The result is what the descriptors write.
set -eu

: "${BINARIES_DIR:=${1:?"the images directory, as Buildroot gives it"}}"
: "${BR2_CONFIG:?"the configuration, as Buildroot gives it"}"
fip=$BINARIES_DIR/amlogic-boot-fip
device=$(sed -n 's/^BR2_PACKAGE_HOST_AMLOGIC_BOOT_FIP_DEVICE="\(.*\)"$/\1/p' "$BR2_CONFIG")
signed=$BINARIES_DIR/amlogic-boot-fip/signed

if [ ! -d "$fip/$device" ]; then
    echo "odroid/amlogic: $fip has nothing for \`$device\`" >&2
    echo "hint: BR2_PACKAGE_HOST_AMLOGIC_BOOT_FIP_DEVICE is a directory of amlogic-boot-fip" >&2
    exit 1
fi
rm -rf "$signed"
mkdir "$signed"
(cd "$fip" && ./build-fip.sh "$device" "$BINARIES_DIR/u-boot.bin" "$signed")

# On GXBB, BL1 is a file of its own for a medium: its bytes come first in the image, 97 sectors of them.
if [ -f "$fip/$device/bl1.bin.hardkernel" ]; then
    mkdir -p "$BINARIES_DIR/odroidc2-uboot-blobs"
    cp "$fip/$device/bl1.bin.hardkernel" "$BINARIES_DIR/odroidc2-uboot-blobs/"
    dd if="$signed/u-boot.bin.sd.bin" of="$BINARIES_DIR/u-boot-signed.bin.sd.bin" bs=512 skip=97 status=none
else
    cp "$signed/u-boot.bin.sd.bin" "$BINARIES_DIR/u-boot-signed.bin.sd.bin"
fi
