#!/bin/sh
# Keeps the journal in persist; systemd-journal-flush.service moves there what was logged until now.
set -eu
. /opt/skiff/scripts/settings.sh

[ ! -e "$SKIP_JOURNAL_FLAG" ] || exit 0
need_persist
! mountpoint -q /var/log/journal || exit 0
mkdir -p "$JOURNAL_PERSIST" /var/log/journal
if grep -q '^systemd-journal:' /etc/group; then
    chgrp systemd-journal "$JOURNAL_PERSIST"
fi
chmod 2755 "$JOURNAL_PERSIST"
mount --bind "$JOURNAL_PERSIST" /var/log/journal
