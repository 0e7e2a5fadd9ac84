# shellcheck shell=sh
# Interactive shells: where one is, and a history that is not written again and again to the medium.
case $- in
    *i*)
        PS1='\u@\h:\w\$ '
        HISTSIZE=1000
        HISTFILE=/tmp/.history-$(id -u)
        export PS1 HISTSIZE HISTFILE
        ;;
esac
