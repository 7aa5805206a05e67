"""Power cuts that lose the disk's cache: a host's writes and flushes recorded, and replayed to any point."""
