# The partition is also found by people who look for it beside another system.
PERSIST_DEVICE="LABEL=SKIFFOS"
