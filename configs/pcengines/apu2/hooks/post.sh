#!/bin/sh
# Buildroot's post-image script: GRUB's first stage and modules, of which the core is composed.
set -eu

: "${BINARIES_DIR:=${1:?"the images directory, as Buildroot gives it"}}"
modules=${TARGET_DIR:?"the target directory, as Buildroot gives it"}/usr/lib/grub/i386-pc
mkdir -p "$BINARIES_DIR/grub"
rm -rf "$BINARIES_DIR/grub/i386-pc"
cp -R "$modules" "$BINARIES_DIR/grub/i386-pc"
