#!/bin/sh
# Lets those log in as root whose public keys are in the image or in persist. Without any, what is there stays.
set -eu
. /opt/skiff/scripts/settings.sh

wrong=
home=/root/.ssh
mkdir -p "$home"
chmod 0700 "$home"
: >"$home/authorized_keys.new"
chmod 0600 "$home/authorized_keys.new"
for file in /etc/skiff/authorized_keys/*.pub "$KEYS_PERSIST"/*.pub; do
    [ -f "$file" ] || continue
    if ssh-keygen -l -f "$file" >/dev/null 2>&1; then
        # A file may lack its last newline, which this adds.
        grep . "$file" >>"$home/authorized_keys.new"
    else
        complain "$file is no public key and is left out" "copy the .pub file that ssh-keygen made"
        wrong=yes
    fi
done
if [ -s "$home/authorized_keys.new" ]; then
    mv "$home/authorized_keys.new" "$home/authorized_keys"
else
    rm "$home/authorized_keys.new"
    if [ ! -s "$home/authorized_keys" ]; then
        say "nobody can log in over ssh: put a public key into $KEYS_PERSIST"
    fi
fi
[ -z "$wrong" ]
