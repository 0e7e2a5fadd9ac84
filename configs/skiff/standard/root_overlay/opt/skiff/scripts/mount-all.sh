#!/bin/sh
# All steps of the start in their order, for whoever has no systemd, or wants to run them by hand. The units run the same
# scripts. A step that fails is reported, and the next ones are tried.
set -eu
. /opt/skiff/scripts/settings.sh

failed=
for script in clock mount-persist identity etc journal ssh-server authorized-keys network mount-rootfs extra-scripts grow swap; do
    "/opt/skiff/scripts/$script.sh" || failed="$failed $script"
done
[ -z "$failed" ] || fail "failed:$failed" "the reasons are above; all of them can be run again"
