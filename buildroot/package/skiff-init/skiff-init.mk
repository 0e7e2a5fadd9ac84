################################################################################
#
# skiff-init
#
################################################################################

# The source is the project around this directory: the commit that is checked out there, in a clone of any depth, or the
# files of an archive. What is not committed is not built; for that, set SKIFF_INIT_OVERRIDE_SRCDIR to the project's
# directory, after `cargo vendor` there.
SKIFF_INIT_SCRIPT = $(BR2_EXTERNAL_SKIFF_IMAGE_PATH)/package/skiff-init/source.sh
ifeq ($(BR2_PACKAGE_SKIFF_INIT),y)
SKIFF_INIT_VERSION := $(shell $(SKIFF_INIT_SCRIPT) version)
ifeq ($(SKIFF_INIT_VERSION),)
$(error skiff-init: its source is not around $(BR2_EXTERNAL_SKIFF_IMAGE_PATH))
endif
endif
SKIFF_INIT_SITE = $(BUILD_DIR)/skiff-init-source
SKIFF_INIT_SITE_METHOD = file

# Buildroot copies it to its downloads, where the crates are put beside it.
define SKIFF_INIT_PACK
	$(Q)$(SKIFF_INIT_SCRIPT) pack $(BUILD_DIR)/skiff-init-source $(SKIFF_INIT_SOURCE)
endef
SKIFF_INIT_PRE_DOWNLOAD_HOOKS += SKIFF_INIT_PACK
SKIFF_INIT_LICENSE = MIT
SKIFF_INIT_LICENSE_FILES = LICENSE
SKIFF_INIT_INSTALL_TARGET = NO
SKIFF_INIT_INSTALL_IMAGES = YES

SKIFF_INIT_CARGO_BUILD_OPTS = --package skiff-init --features pure

# Static, because there is no library beside it on the medium, and at a fixed address, which is smaller and which
# every static C library can do. The second option for ARM is Buildroot's own; it would be lost with the variable.
SKIFF_INIT_RUSTFLAGS = \
	-Ctarget-feature=+crt-static \
	-Crelocation-model=static \
	$(if $(filter arm,$(NORMALIZED_ARCH)),-Clink-arg=-Wl$(comma)--allow-multiple-definition)

SKIFF_INIT_CARGO_ENV = \
	CARGO_TARGET_$(call UPPERCASE,$(RUSTC_TARGET_NAME))_RUSTFLAGS="$(strip $(SKIFF_INIT_RUSTFLAGS))"

# As cargo-package has it, but with the profile that is meant for this program.
define SKIFF_INIT_BUILD_CMDS
	cd $(SKIFF_INIT_SRCDIR) && \
	$(TARGET_MAKE_ENV) \
		$(TARGET_CONFIGURE_OPTS) \
		$(PKG_CARGO_ENV) \
		$(SKIFF_INIT_CARGO_ENV) \
		cargo build \
			--offline \
			--locked \
			--profile init \
			--manifest-path Cargo.toml \
			$(SKIFF_INIT_CARGO_BUILD_OPTS)
endef

SKIFF_INIT_CONF = $(call qstrip,$(BR2_PACKAGE_SKIFF_INIT_CONF))
SKIFF_INIT_RESIZE2FS_CONF = $(call qstrip,$(BR2_PACKAGE_SKIFF_INIT_RESIZE2FS_CONF))

# The name is the one that SkiffOS' kernel command lines have.
define SKIFF_INIT_INSTALL_IMAGES_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/init/skiff-init \
		$(BINARIES_DIR)/skiff-init/skiff-init-squashfs
	$(if $(SKIFF_INIT_CONF),$(INSTALL) -D -m 0644 $(SKIFF_INIT_CONF) \
		$(BINARIES_DIR)/skiff-init/skiff-init.conf)
	$(if $(SKIFF_INIT_RESIZE2FS_CONF),$(INSTALL) -D -m 0644 $(SKIFF_INIT_RESIZE2FS_CONF) \
		$(BINARIES_DIR)/skiff-init/resize2fs.conf)
endef

$(eval $(cargo-package))
