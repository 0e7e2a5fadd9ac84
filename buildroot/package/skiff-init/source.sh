#!/bin/sh
# The source of skiff-init: the project around this directory, in a checkout of any depth or unpacked from an archive.
#
#     source.sh version           prints what names it: the commit, or a digest of the files
#     source.sh pack DIR FILE     writes it as DIR/FILE, below a directory `skiff-init-VERSION`
#
# Of a checkout the commit is taken, and what is not committed is left out.
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd -P)
for part in Cargo.lock src/init/Cargo.toml; do
    if [ ! -f "$root/$part" ]; then
        echo "skiff-init: $root has no $part: it is built from the whole source of skiff-image around buildroot/" >&2
        exit 1
    fi
done

# A checkout around the project, of something else, says nothing about it.
commit() {
    [ "$(git -C "$root" rev-parse --show-toplevel 2>/dev/null)" = "$root" ] &&
        git -C "$root" rev-parse --verify --quiet "HEAD^{commit}"
}

# What builds and downloads leave there is none of the source.
files() {
    cd "$root"
    find . \( -name .git -o -name target -o -name workspaces -o -path ./overrides -o -path ./buildroot/dl \) -prune \
        -o -type f -print0 | LC_ALL=C sort -z
}

version=$(commit) || version=$(files | (cd "$root" && xargs -0 sha256sum) | sha256sum | cut -c 1-40)
case ${1:?"version or pack"} in
version)
    echo "$version"
    ;;
pack)
    mkdir -p "$2"
    if commit >/dev/null; then
        git -C "$root" archive --format=tar --prefix="skiff-init-$version/" HEAD
    else
        files | (cd "$root" && tar --null --files-from=- --owner=0 --group=0 --mtime=@0 --mode=go=rX,u+rw,a-s \
            --transform="s,^\./,skiff-init-$version/," -cf -)
    fi | gzip -n >"$2/$3.part"
    mv "$2/$3.part" "$2/$3"
    ;;
esac
