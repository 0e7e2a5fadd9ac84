# What Buildroot does where we talk to it: out of tree (O=), with external trees, a log of build times, stamps,
# overlays, scripts, tables.
export BR2_VERSION := 2026.05.1
MAKEFLAGS += --no-print-directory
TOPDIR := $(CURDIR)
O ?= $(CURDIR)/output
ifneq ($(findstring @,$(O)),)
$(error The build directory can not contain a '@')
endif
export BASE_DIR := $(O)
export BR2_BASE_DIR := $(O)
export BUILD_DIR := $(O)/build
export TARGET_DIR := $(O)/target
export BINARIES_DIR := $(O)/images
export HOST_DIR := $(O)/host
export CONFIG_DIR := $(O)
export BR2_CONFIG := $(O)/.config
export KCONFIG_CONFIG := $(O)/.config
export KCONFIG_AUTOHEADER := $(O)/build/autoconf.h
export KCONFIG_AUTOCONFIG := $(O)/build/auto.conf
export KCONFIG_TRISTATE := $(O)/build/tristate.conf
export CONFIG_ :=
CONF ?= kconfig-conf
noconfig := defconfig olddefconfig menuconfig clean distclean print-version
ifneq ($(filter-out $(noconfig),$(or $(MAKECMDGOALS),all)),)
-include $(O)/.config
endif
q = $(patsubst "%",%,$(1))
# Only when it is given, as the real one: later calls remember it.
ifneq ($(origin BR2_EXTERNAL),undefined)
$(shell mkdir -p $(O) && printf 'BR2_EXTERNAL ?= %s\n' '$(BR2_EXTERNAL)' >$(O)/.br2-external.mk)
else
-include $(O)/.br2-external.mk
endif
externals := $(subst :, ,$(BR2_EXTERNAL))

all: world
.PHONY: all world rootfs-common clean distclean defconfig olddefconfig menuconfig savedefconfig target-finalize \
	source legal-info show-info show-build-order print-version external printvars

ifeq ($(filter-out $(noconfig),$(or $(MAKECMDGOALS),all)),)
else ifeq ($(wildcard $(O)/.config),)
world rootfs-common source legal-info show-info show-build-order target-finalize:
	@echo "Please configure Buildroot first (e.g. \"make menuconfig\")" >&2; exit 1
endif

external:
	@mkdir -p $(BUILD_DIR)
	@: >$(O)/.br2-external.in
	@for tree in $(externals); do \
		test -f $$tree/external.desc -a -f $$tree/external.mk -a -f $$tree/Config.in || { \
			echo "external tree $$tree is not complete" >&2; exit 1; }; \
		name=$$(sed -n 's/^name: *//p' $$tree/external.desc); \
		printf 'config BR2_EXTERNAL_%s_PATH\n\tstring\n\tdefault "%s"\n' $$name $$tree >>$(O)/.br2-external.in; \
		printf 'source "%s/Config.in"\n' $$tree >>$(O)/.br2-external.in; \
	done

defconfig: external
	@mkdir -p $(O) && echo "# made by the pretend Buildroot" >$(O)/Makefile
	@$(CONF) --defconfig=$(BR2_DEFCONFIG) Config.in
olddefconfig: external
	@$(CONF) --olddefconfig Config.in
savedefconfig: external
	@$(CONF) --savedefconfig=$(O)/defconfig Config.in
# Whoever tests says what the user does in it.
menuconfig: external
	@cd $(O) && sh -c "$(TOY_MENUCONFIG)"
	@$(CONF) --olddefconfig Config.in
print-version:
	@echo $(BR2_VERSION)

packages := $(if $(BR2_PACKAGE_BUSYBOX),busybox-1.36.1) $(if $(BR2_PACKAGE_GLIBC),glibc-2.42) \
	$(if $(BR2_PACKAGE_HELLO),hello-2.12) $(if $(BR2_PACKAGE_SLOW),slow-1) $(if $(BR2_PACKAGE_BROKEN),broken-0.1) \
	$(if $(BR2_LINUX_KERNEL),linux-6.12)
name = $(firstword $(subst -, ,$(1)))
version = $(lastword $(subst -, ,$(1)))
stamps := $(packages:%=$(BUILD_DIR)/%/.stamp_installed)
say = printf '\033[7m>>> %s %s %s\033[0m\n' $(1) $(2) "$(3)"
time = printf '%s:%-5s:%-20s: %s\n' "$$(date +%s.%N)" $(1) $(2) $(3) >>$(BUILD_DIR)/build-time.log

fragment_of_linux := $(call q,$(BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES))
fragment_of_busybox := $(call q,$(BR2_PACKAGE_BUSYBOX_CONFIG_FRAGMENT_FILES))
steps = @set -e; mkdir -p $(@D) $(TARGET_DIR)/usr/bin $(BINARIES_DIR); \
	for step in extract configure build install; do \
		test -e $(@D)/.stamp_$$step -a $$step = extract && continue; \
		$(call say,$(call name,$(*)),$(call version,$(*)),$$step); \
		$(call time,start,$$step,$(call name,$(*))); \
		$(SHELL) $(TOPDIR)/package/$(call name,$(*)).sh $$step || { \
			echo "make[1]: *** [package/pkg-generic.mk:283: $(@D)/.stamp_$$step] Error 1" >&2; exit 1; }; \
		$(call time,end,$$step,$(call name,$(*))); \
		touch $(@D)/.stamp_$$step; \
	done; touch $@
$(BUILD_DIR)/linux-6.12/.stamp_installed: $(fragment_of_linux)
$(BUILD_DIR)/busybox-1.36.1/.stamp_installed: $(fragment_of_busybox)
$(BUILD_DIR)/%/.stamp_installed:
	$(steps)

target-finalize: $(stamps)
	@printf '\033[7m>>>   Finalizing target directory\033[0m\n'
	@mkdir -p $(TARGET_DIR)/etc $(TARGET_DIR)/usr/lib && : >$(TARGET_DIR)/THIS_IS_NOT_YOUR_ROOT_FILESYSTEM
	@printf 'NAME=Buildroot\nVERSION=%s\nID=buildroot\n' $(BR2_VERSION) >$(TARGET_DIR)/usr/lib/os-release
	@ln -sfn ../usr/lib/os-release $(TARGET_DIR)/etc/os-release
	@test -e $(TARGET_DIR)/etc/passwd || printf 'root:x:0:0:root:/root:/bin/sh\n' >$(TARGET_DIR)/etc/passwd
	@test -e $(TARGET_DIR)/etc/group || printf 'root:x:0:\n' >$(TARGET_DIR)/etc/group
	@test -e $(TARGET_DIR)/etc/shadow || printf 'root:*:::::::\n' >$(TARGET_DIR)/etc/shadow
	@set -e; for overlay in $(call q,$(BR2_ROOTFS_OVERLAY)); do \
		printf '\033[7m>>>   Copying overlay %s\033[0m\n' $$overlay; cp -a $$overlay/. $(TARGET_DIR)/; done
	@set -e; for script in $(call q,$(BR2_ROOTFS_POST_BUILD_SCRIPT)); do \
		printf '\033[7m>>>   Executing post-build script %s\033[0m\n' $$script; $$script $(TARGET_DIR); done

world: target-finalize
	@mkdir -p $(BINARIES_DIR)
	@$(if $(BR2_TARGET_ROOTFS_TAR),tar cf $(BINARIES_DIR)/rootfs.tar -C $(TARGET_DIR) .)
	@$(if $(BR2_TARGET_ROOTFS_SQUASHFS),: >$(BINARIES_DIR)/rootfs.squashfs)
	@$(if $(BR2_TARGET_ROOTFS_CPIO),: >$(BINARIES_DIR)/rootfs.cpio)
	@set -e; for script in $(call q,$(BR2_ROOTFS_POST_IMAGE_SCRIPT)); do \
		printf '\033[7m>>>   Executing post-image script %s\033[0m\n' $$script; $$script $(BINARIES_DIR); done

rootfs-common: target-finalize
	@printf '\033[7m>>>   Generating root filesystems common tables\033[0m\n'
	@mkdir -p $(BUILD_DIR)/buildroot-fs
	@cat /dev/null $(call q,$(BR2_ROOTFS_USERS_TABLES)) >$(BUILD_DIR)/buildroot-fs/full_users_table.txt
	@printf '/bin/busybox f 4755 0 0 - - - - -\n' >$(BUILD_DIR)/buildroot-fs/full_devices_table.txt
	@cat $(call q,$(BR2_ROOTFS_DEVICE_TABLE)) >>$(BUILD_DIR)/buildroot-fs/full_devices_table.txt

source:
	@echo sources are there
show-build-order:
	@:
	$(foreach p,$(packages),$(info $(call name,$(p))))
legal-info:
	@rm -rf $(O)/legal-info && mkdir -p $(O)/legal-info && echo '"PACKAGE","VERSION"' >$(O)/legal-info/manifest.csv
	@cd $(O)/legal-info && find * -type f -exec sha256sum {} + | LC_ALL=C sort -k2 >.sums && mv .sums legal-info.sha256
printvars:
	@$(foreach v,$(VARS),printf '%s=%s\n' '$(v)' '$($(v))';)
# The configuration of the kernel, which its user edits in a directory of its own.
LINUX_DIR := $(BUILD_DIR)/linux-6.12
.PHONY: linux-configure linux-menuconfig
linux-configure:
	@mkdir -p $(LINUX_DIR) && $(SHELL) $(TOPDIR)/package/linux.sh configure
linux-menuconfig:
	@cd $(LINUX_DIR) && sh -c "$(TOY_MENUCONFIG)"
clean:
	rm -rf $(BUILD_DIR) $(TARGET_DIR) $(BINARIES_DIR) $(HOST_DIR) $(O)/legal-info
distclean: clean
	rm -rf $(O)/.config $(O)/.br2-external.mk $(O)/.br2-external.in
