################################################################################
#
# skiff-busybox
#
################################################################################

# The source, with its patches, is that of the busybox package, which is built for the target with another configuration.
SKIFF_BUSYBOX_VERSION = $(BUSYBOX_VERSION)
SKIFF_BUSYBOX_SOURCE =
SKIFF_BUSYBOX_LICENSE = $(BUSYBOX_LICENSE)
SKIFF_BUSYBOX_DEPENDENCIES = busybox
SKIFF_BUSYBOX_INSTALL_TARGET = NO
SKIFF_BUSYBOX_INSTALL_IMAGES = YES
SKIFF_BUSYBOX_CONFIG = $(BR2_EXTERNAL_SKIFF_IMAGE_PATH)/package/skiff-busybox/busybox.config

SKIFF_BUSYBOX_MAKE = $(TARGET_MAKE_ENV) KCONFIG_NOTIMESTAMP=1 $(MAKE) -C $(@D)/source \
	ARCH=$(NORMALIZED_ARCH) CROSS_COMPILE="$(TARGET_CROSS)" CC="$(TARGET_CC)" \
	EXTRA_CFLAGS="$(TARGET_CFLAGS)" EXTRA_LDFLAGS="$(TARGET_LDFLAGS)"

# What the configuration names is on, everything else off.
define SKIFF_BUSYBOX_CONFIGURE_CMDS
	mkdir -p $(@D)/source
	rsync -a --delete --exclude=/.stamp_* --exclude=/.files-list* $(BUSYBOX_DIR)/ $(@D)/source/
	$(SKIFF_BUSYBOX_MAKE) mrproper
	$(SKIFF_BUSYBOX_MAKE) allnoconfig
	sed 's/^\(.*\)=.*/# \1 is not set/' $(SKIFF_BUSYBOX_CONFIG) >$(@D)/off
	grep -v -x -F -f $(@D)/off $(@D)/source/.config >$(@D)/on
	cat $(@D)/on $(SKIFF_BUSYBOX_CONFIG) >$(@D)/source/.config
	yes "" | $(SKIFF_BUSYBOX_MAKE) oldconfig
	$(Q)for line in $$(cat $(SKIFF_BUSYBOX_CONFIG)); do \
		grep -q -x -F "$$line" $(@D)/source/.config || { echo "skiff-busybox: $$line is lost" >&2; exit 1; }; \
	done
endef

define SKIFF_BUSYBOX_BUILD_CMDS
	$(SKIFF_BUSYBOX_MAKE) busybox
endef

define SKIFF_BUSYBOX_INSTALL_IMAGES_CMDS
	$(INSTALL) -D -m 0755 $(@D)/source/busybox $(BINARIES_DIR)/skiff-init/busybox
endef

$(eval $(generic-package))
