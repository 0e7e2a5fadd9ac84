#!/bin/sh
# Host keys that stay the same, and changes to the configuration of sshd that are in persist. The configuration itself
# is that of the image, so that a newer image brings a newer one.
set -eu
. /opt/skiff/scripts/settings.sh

make_host_key() {
    key=$SSH_PERSIST/ssh_host_$1_key
    [ ! -s "$key" ] || return 0
    rm -f "$key.new" "$key.new.pub"
    ssh-keygen -q -t "$1" -N '' -C '' -f "$key.new"
    mv "$key.new.pub" "$key.pub"
    # Last, because it is what the next boot looks for.
    mv "$key.new" "$key"
}

install_host_key() {
    key=$SSH_PERSIST/ssh_host_$1_key
    chmod 0600 "$key"
    install -m 0600 "$key" "/etc/ssh/ssh_host_$1_key"
    [ ! -f "$key.pub" ] || install -m 0644 "$key.pub" "/etc/ssh/ssh_host_$1_key.pub"
}

# The first value counts for sshd, so these come before the drop-ins of the image.
install_drop_ins() {
    rm -f /etc/ssh/sshd_config.d/00-persist-*.conf
    for file in "$SSH_PERSIST"/sshd_config.d/*.conf; do
        [ ! -f "$file" ] || install -m 0600 "$file" "/etc/ssh/sshd_config.d/00-persist-${file##*/}"
    done
    if ! said=$(sshd -t -f /etc/ssh/sshd_config 2>&1); then
        rm -f /etc/ssh/sshd_config.d/00-persist-*.conf
        complain "sshd does not accept $SSH_PERSIST/sshd_config.d, which is left out: $said" "correct it and run systemctl restart skiff-ssh sshd"
        return 1
    fi
}

wrong=
if ! persist_is_there; then
    # Who has a key in the image can still log in and look.
    complain "$PERSIST_MNT is not mounted: the host keys are those of this boot only" "see what skiff-persist.service says"
    SSH_PERSIST=/run/skiff/ssh
    wrong=yes
fi
mkdir -p "$SSH_PERSIST" /etc/ssh/sshd_config.d
chmod 0700 "$SSH_PERSIST"
for type in ed25519 ecdsa rsa; do
    make_host_key "$type"
    install_host_key "$type"
done
if [ -f "$SSH_PERSIST/sshd_config" ]; then
    say "$SSH_PERSIST/sshd_config is not read: put what differs from /etc/ssh/sshd_config into sshd_config.d/*.conf there"
fi
mkdir -p /run/sshd
install_drop_ins
[ -z "$wrong" ]
