#!/bin/sh
# A device without a clock starts in 1970, before any certificate is valid: not earlier than the build, at least.
set -eu
. /opt/skiff/scripts/settings.sh

[ -f "$SKIFF_RELEASE_FILE" ] || exit 0
built=$(sed -n 's/^BUILD_DATE="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$SKIFF_RELEASE_FILE")
[ -n "$built" ] || exit 0
if ! epoch=$(date -u -d "$built" +%s 2>/dev/null); then
    fail "BUILD_DATE of $SKIFF_RELEASE_FILE is no date: $built" "write it as 2026-01-31 23:59:59"
fi
if [ "$(date -u +%s)" -lt "$epoch" ]; then
    date -u -s "@$epoch" >/dev/null
    say "clock set to the time of the build, $built"
fi
