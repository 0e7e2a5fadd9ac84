# The bundle for NVIDIA's tool already has the partition as long as it gets.
DISABLE_RESIZE_PERSIST="true"
