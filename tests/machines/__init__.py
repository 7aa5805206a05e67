"""Test hosts: whole machines inside this one, that reboot."""

from .errors import CommandFailed, MachineError, TimedOut
from .machine import Machine
from .network import Network
from .nspawn import ContainerHost
from .vm import VirtualMachine

__all__ = [
    "CommandFailed",
    "ContainerHost",
    "Machine",
    "MachineError",
    "Network",
    "TimedOut",
    "VirtualMachine",
]
