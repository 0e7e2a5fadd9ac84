################################################################################
#
# skiff-core
#
################################################################################

# The source is the project around this directory: the commit that is checked out there, in a clone of any depth, or the
# files of an archive. What is not committed is not built; for that, set SKIFF_CORE_OVERRIDE_SRCDIR to the project's
# directory, after `cargo vendor` there.
SKIFF_CORE_SCRIPT = $(BR2_EXTERNAL_SKIFF_IMAGE_PATH)/package/skiff-init/source.sh
ifeq ($(BR2_PACKAGE_SKIFF_CORE),y)
SKIFF_CORE_VERSION := $(shell $(SKIFF_CORE_SCRIPT) version)
ifeq ($(SKIFF_CORE_VERSION),)
$(error skiff-core: its source is not around $(BR2_EXTERNAL_SKIFF_IMAGE_PATH))
endif
endif
SKIFF_CORE_SITE = $(BUILD_DIR)/skiff-core-source
SKIFF_CORE_SITE_METHOD = file

# Buildroot copies it to its downloads, where the crates are put beside it.
define SKIFF_CORE_PACK
	$(Q)$(SKIFF_CORE_SCRIPT) pack $(BUILD_DIR)/skiff-core-source $(SKIFF_CORE_SOURCE)
endef
SKIFF_CORE_PRE_DOWNLOAD_HOOKS += SKIFF_CORE_PACK
SKIFF_CORE_LICENSE = MIT
SKIFF_CORE_LICENSE_FILES = LICENSE

SKIFF_CORE_CARGO_BUILD_OPTS = --package skiff-core

# Static, because every login starts it, and at a fixed address, which is smaller and which every static C library can
# do. The second option for ARM is Buildroot's own; it would be lost with the variable.
SKIFF_CORE_RUSTFLAGS = \
	-Ctarget-feature=+crt-static \
	-Crelocation-model=static \
	$(if $(filter arm,$(NORMALIZED_ARCH)),-Clink-arg=-Wl$(comma)--allow-multiple-definition)

SKIFF_CORE_CARGO_ENV = \
	CARGO_TARGET_$(call UPPERCASE,$(RUSTC_TARGET_NAME))_RUSTFLAGS="$(strip $(SKIFF_CORE_RUSTFLAGS))"

# As cargo-package has it, but with the profile that is meant for this program.
define SKIFF_CORE_BUILD_CMDS
	cd $(SKIFF_CORE_SRCDIR) && \
	$(TARGET_MAKE_ENV) \
		$(TARGET_CONFIGURE_OPTS) \
		$(PKG_CARGO_ENV) \
		$(SKIFF_CORE_CARGO_ENV) \
		cargo build \
			--offline \
			--locked \
			--profile init \
			--manifest-path Cargo.toml \
			$(SKIFF_CORE_CARGO_BUILD_OPTS)
endef

# The login shell is the same program by another name.
define SKIFF_CORE_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/init/skiff-core \
		$(TARGET_DIR)/usr/bin/skiff-core
	ln -sf skiff-core $(TARGET_DIR)/usr/bin/skiff-shell
endef

$(eval $(cargo-package))
