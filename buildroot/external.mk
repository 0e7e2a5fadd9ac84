include $(sort $(wildcard $(BR2_EXTERNAL_SKIFF_IMAGE_PATH)/package/*/*.mk))
