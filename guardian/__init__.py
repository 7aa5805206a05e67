"""guardian: containers that resume where they were after a reboot, an engine restart or an engine crash."""

__version__ = "0.1.0"
