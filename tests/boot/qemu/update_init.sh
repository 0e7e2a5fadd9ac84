#!/bin/sh
# Stands where systemd stands: mounts the slot that was started, says which one it is, and runs the step of this start.
export PATH=/usr/sbin:/usr/bin
. /usr/lib/fixture-functions
mount -t proc proc /proc
mount -t sysfs sysfs /sys
slot=$(sed -n 's/.*skiffos\.slot=\([ab]\).*/\1/p' /proc/cmdline)
if [ -f /etc/dies ]; then
  say "DIES slot=$slot system=$(cat /etc/system)"
  exit 1
fi
load_modules_of_machine init
load_modules early
for name in persist rootfs boot; do
  device=$(wait_for 40 findfs "LABEL=$name") || fail "no partition LABEL=$name"
  mount "$device" "/mnt/$name" || fail "cannot mount $device"
done
mkdir -p /usr/lib/modules
mount -t squashfs -o loop,ro "/mnt/rootfs/skiff/$slot/modules.squashfs" /usr/lib/modules || fail "no modules in slot $slot"
modprobe nls_utf8 || fail "the modules of slot $slot are of another kernel"

agent() { skiff-update "$@" 2>&1 || fail "skiff-update $*"; }
next() {
  sync
  umount /usr/lib/modules /mnt/boot /mnt/rootfs /mnt/persist
  reboot -f
}

step=$(($(cat /mnt/persist/step 2>/dev/null || echo 0) + 1))
echo $step >/mnt/persist/step
say "STEP $step slot=$slot system=$(cat /etc/system)"
. "/mnt/persist/steps/$step"
say "SKIFF-BOOT-OK"
finish
