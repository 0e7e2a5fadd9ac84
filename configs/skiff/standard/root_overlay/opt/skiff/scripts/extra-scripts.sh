#!/bin/sh
# Runs what layers have in mount-all.d, each within a bound, all of them even if one fails.
set -eu
. /opt/skiff/scripts/settings.sh

mkdir -p "${SKIFF_ENV_FILE%/*}"
for name in BOOT_DEVICE BOOT_MNT PERSIST_DEVICE PERSIST_MNT PERSIST_ROOT ROOTFS_DEVICE ROOTFS_MNT SKIFF_PERSIST SKIFF_OVERLAYS; do
    eval "printf '%s=\"%s\"\\n' $name \"\$$name\""
done >"$SKIFF_ENV_FILE"

# Made when a script has taken too long.
readonly stopped=/run/skiff/stopped

# bounded SCRIPT: runs it in a session of its own; when its time is over all that it has started ends with it, which
# timeout of busybox does not see to.
bounded() {
    rm -f "$stopped"
    setsid "$1" &
    leader=$!
    # shellcheck disable=SC2016 # expanded by the shell that runs it
    setsid sh -c 'sleep "$1"; : >"$3"; kill -TERM "-$2"; sleep 5; kill -KILL "-$2"' bounded "$EXTRA_SCRIPT_WAIT" "$leader" "$stopped" >/dev/null 2>&1 &
    guard=$!
    status=0
    # The shell says that it was terminated, and so does this script.
    wait "$leader" 2>/dev/null || status=$?
    # It has no group yet when the script was fast.
    kill -KILL "-$guard" 2>/dev/null || kill -KILL "$guard" 2>/dev/null || :
    return "$status"
}

wrong=
for script in "$EXTRA_SCRIPTS_DIR"/*.sh; do
    [ -f "$script" ] || continue
    ended=0
    bounded "$script" || ended=$?
    [ "$ended" -ne 0 ] || continue
    if [ -e "$stopped" ]; then
        complain "$script was stopped after $EXTRA_SCRIPT_WAIT s" "set EXTRA_SCRIPT_WAIT in /etc/skiff/mount.env if it needs longer"
    else
        complain "$script failed with status $ended" "run it by hand: what it wrote is above"
    fi
    wrong=yes
done
[ -z "$wrong" ]
