#!/bin/sh
# Buildroot's post-image script: the early update of the processor's microcode, an archive that the boot loader gives the
# kernel (Linux, Documentation/arch/x86/microcode.rst). The same bytes for the same microcode.
set -eu

: "${BINARIES_DIR:=${1:?"the images directory, as Buildroot gives it"}}"
microcode=${TARGET_DIR:?"the target directory, as Buildroot gives it"}/usr/lib/firmware/amd-ucode
archive=$BINARIES_DIR/amd-ucode.img
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

mkdir -p "$tree/kernel/x86/microcode"
cat "$microcode"/microcode_amd*.bin >"$tree/kernel/x86/microcode/AuthenticAMD.bin"
cd "$tree"
chmod -R u=rwX,go=rX kernel
find kernel -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
find kernel | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0 >"$archive"
