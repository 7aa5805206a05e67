"""Tests in a virtual machine with Debian's own kernel: a true reboot, every cgroup controller, AppArmor."""
