"""CRIU's images as facts: processes, files, sockets, mounts, memory. Nothing in an image is believed."""
