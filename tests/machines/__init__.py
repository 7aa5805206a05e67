"""Test hosts: whole machines inside this one, that reboot.

`ContainerHost` boots in 2 s on the kernel of this machine; `VirtualMachine` has Debian's own kernel, for what needs
one (cgroup limits, AppArmor, soft-dirty, CRIU with every capability). What they are made of is built when it is first
needed, see `python3 -m tests.machines --help`.
"""

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
