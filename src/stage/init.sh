#!/bin/sh
# First process of a system that the kernel has unpacked into memory: there it mounts no devtmpfs itself.
/bin/mount -t devtmpfs devtmpfs /dev
# The console of the devtmpfs; without a working one the streams stay as they are.
if (: </dev/console) 2>/dev/null; then
	exec </dev/console >/dev/console 2>&1
fi
exec /sbin/init "$@"
