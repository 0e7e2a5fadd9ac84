#!/bin/sh
# Prints how this system can be reached and what is wrong with it. With --follow, for a screen: again when it changes.
set -eu

# version: of what was installed.
version() {
    [ -f /etc/os-release ] || return 0
    sed -n 's/^PRETTY_NAME="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/os-release
}

# addresses: one line for each of an interface, but not of the loopback.
addresses() {
    ip -o addr show scope global | sed 's/^[0-9]*: *\([^ ]*\) *inet6\{0,1\} \([^ /]*\).*/\1  \2/'
}

failed_units() {
    systemctl list-units --failed --plain --no-legend | sed 's/^[^[:alnum:]]*//; s/ .*//'
}

# section TITLE TEXT: nothing if there is no text.
section() {
    [ -z "$2" ] || printf '\n%s\n%s\n' "$1" "$(printf '%s\n' "$2" | sed 's/^/  /')"
}

report() {
    printf '%s  %s\n' "$(hostname)" "$(version)"
    section 'Addresses' "$(addresses)"
    section 'Failed units (systemctl status UNIT)' "$(failed_units)"
    section 'Problems of this boot' "$(cat /run/skiff/problems 2>/dev/null || :)"
}

if [ "${1-}" != --follow ]; then
    report
    exit 0
fi
shown=
while :; do
    current=$(report)
    if [ "$current" != "$shown" ]; then
        # Clears the screen (ECMA-48: CUP, ED).
        printf '\033[H\033[2J%s\n' "$current"
        shown=$current
    fi
    sleep 10
done
