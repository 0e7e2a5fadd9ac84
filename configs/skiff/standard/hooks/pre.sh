#!/bin/sh
# Buildroot's post-build script: names the release in the root filesystem and beside it, and makes the mount points.
#
# Nothing here is different between two builds of the same sources: the date is SOURCE_DATE_EPOCH, which BR2_REPRODUCIBLE
# sets, and neither user nor host is named.
set -eu

: "${TARGET_DIR:=${1:?"the target directory, as Buildroot gives it"}}"
version=${SKIFF_VERSION:-0}
date=$(date -u -d "@${SOURCE_DATE_EPOCH:?"set BR2_REPRODUCIBLE=y"}" '+%Y-%m-%d %H:%M:%S')

mkdir -p "$TARGET_DIR/mnt/persist" "$TARGET_DIR/mnt/rootfs" "$TARGET_DIR/mnt/boot" "$TARGET_DIR/etc"
cat >"$TARGET_DIR/etc/skiff-release" <<END
NAME=SkiffOS
VERSION=$version
ID=skiff
VERSION_ID=${SKIFF_VERSION_COMMIT:-$version}
PRETTY_NAME="SkiffOS $version"
BUILD_DATE="$date"
BUILD_CONFIG="${SKIFF_CONFIG:-}"
END
if [ -n "${BINARIES_DIR:-}" ]; then
    cp "$TARGET_DIR/etc/skiff-release" "$BINARIES_DIR/skiff-release"
fi
