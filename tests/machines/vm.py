"""A virtual machine: Debian's own kernel, a true reboot, a true power cut; slow where there is no working KVM."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from . import cache, disk, roots
from .commands import Result, interrupts_later, run, wait_until
from .errors import CommandFailed, MachineError, TimedOut
from .local import LocalMachine
from .network import BRIDGE, PREFIX, Network
from .nspawn import boot_in_place

BOOT_TIMEOUT = 600.0
REBOOT_TIMEOUT = 900.0
CONNECT_TIMEOUT = 30
LOGIN_TIMEOUT = 120.0
MEMORY = "4096"
SSH_PORT = 2222
"""Of the loopback in the machine's own network namespace, so never taken."""
PROBE_TIMEOUT = 20.0


class VirtualMachine(LocalMachine):
    """A clone of a cached disk in QEMU.

    It has two cards: one for the tests' own ssh, that no firewall of the network meets, and one on the network that
    has the peers. A crash is the death of QEMU: what the guest did not flush is lost.
    """

    slowness = 5.0

    def __init__(self, *, network: Network | None = None) -> None:
        cache.require_commands({"qemu-system-x86_64": "qemu-system-x86", "ssh": "openssh-client"})
        self._base = self.base()
        self._master: subprocess.Popen[bytes] | None = None
        super().__init__("vm", network)
        with self._closed_on_error():
            self._accelerated = has_working_kvm(self._base / "kernel")
            self._disk = self.folder / "disk.img"
            self.root.mkdir()
            disk.copy(self._base / "disk.img", self._disk)
            # The last bytes of the address make the card's own unique on the bridge.
            self._mac = "52:54:00:" + ":".join(f"{int(part):02x}" for part in self.address.split(".")[1:])
            self._tap = f"tap-{self.name}"
            self._write_offline({"etc/systemd/network/10-peers.network": self._peers(), **self._identity()})
            self._plug_in()

    @classmethod
    def base(cls) -> Path:
        """What machines are cloned from; built when it is not there (minutes)."""
        return roots.virtual_machine(boot_in_place)

    def _peers(self) -> str:
        address = f"Address={self.address}/{PREFIX}"
        # The driver as well: an ipvlan has its card's address for a moment in the host, and must not be set up.
        return f"[Match]\nMACAddress={self._mac}\nDriver=virtio_net\n[Network]\n{address}\nLinkLocalAddressing=no\n"

    def _plug_in(self) -> None:
        for command in (
            f"tuntap add {self._tap} mode tap",
            f"link set {self._tap} master {BRIDGE}",
            f"link set {self._tap} up",
        ):
            self.peer_exec(["ip", *command.split()])

    @property
    def _mount(self) -> str:
        return shlex.join(disk.mount_argv(self._disk, self.root))

    def enter(self, argv: Sequence[str]) -> list[str]:
        """Ssh to the forwarded port."""
        if not self.is_up:
            raise MachineError(f"{self.name} is off")
        return self._ssh(shlex.join(argv))

    def _ssh(self, *rest: str) -> list[str]:
        options = (
            *("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"),
            *(f"ConnectTimeout={CONNECT_TIMEOUT}", "ServerAliveInterval=30", "IdentitiesOnly=yes"),
            f"ControlPath={self.folder}/ssh",
        )
        flags = [word for option in options for word in ("-o", option)]
        key = str(self._base / "key")
        argv = ["ssh", "-F", "none", *flags, "-i", key, "-p", str(SSH_PORT), "root@127.0.0.1", *rest]
        return self.network.enter(argv)

    def shell_hint(self) -> str:
        """The ssh command for a person."""
        return shlex.join(self._ssh())

    def _qemu_argv(self) -> list[str]:
        fast = ["-accel", "kvm", "-cpu", "host", "-smp", "2"]
        # Two processors in multi-threaded TCG crash the guest's kernel.
        slow = ["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1"]
        return self.network.enter(
            [
                *("qemu-system-x86_64", *(fast if self._accelerated else slow), "-m", MEMORY),
                *("-kernel", str(self._base / "kernel"), "-initrd", str(self._base / "initrd")),
                *("-append", "root=/dev/vda rw quiet console=ttyS0"),
                *("-drive", f"file={self._disk},format=raw,if=virtio,cache=writeback"),
                *("-netdev", f"user,id=control,hostfwd=tcp:127.0.0.1:{SSH_PORT}-:22"),
                *("-device", "virtio-net-pci,netdev=control"),
                *("-netdev", f"tap,id=peers,ifname={self._tap},script=no,downscript=no"),
                *("-device", f"virtio-net-pci,netdev=peers,mac={self._mac}"),
                *("-device", "virtio-rng-pci", "-display", "none"),
                *("-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"),
                *("-monitor", f"unix:{self.folder}/monitor,server,nowait"),
            ]
        )

    def start(self) -> None:
        """Boot and wait until systemd has settled; about a minute without KVM."""
        if self.is_up:
            return
        disk.wait_until_detached(self.folder)
        with (self.folder / "qemu.log").open("ab") as log, interrupts_later():
            self._process = subprocess.Popen(
                self._qemu_argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            self._record.add_process(self._process.pid)
        self._wait_for_boot(None, BOOT_TIMEOUT)

    def _wait_for_boot(self, before: str | None, limit: float) -> None:
        """Wait until another boot than that one has settled. Raises `MachineError`, `TimedOut`."""
        deadline = time.monotonic() + limit
        while not self._connect() or self._boot_or_none() in {None, before}:
            if not self.is_up:
                log = (self.folder / "qemu.log").read_text()
                raise MachineError(f"{self.name}: QEMU has ended: {log}\n{self.console_text()}")
            if time.monotonic() > deadline:
                raise TimedOut(f"{self.name} not booted within {limit:g} s:\n{self.console_text()}")
            time.sleep(0.5)
        left = max(deadline - time.monotonic(), 1.0)
        # Blocks in there: to ask again and again would slow the boot down.
        self.execute("systemctl is-system-running --wait", timeout=left)

    def _connect(self) -> bool:
        """Make the one connection that all commands go through: each costs the guest a second or more."""
        self._drop_connection()
        control = self.folder / "ssh"
        with (self.folder / "ssh.log").open("wb") as log, interrupts_later():
            self._master = subprocess.Popen(
                self._ssh("-M", "-N"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._record.add_process(self._master.pid)
        master = self._master
        with contextlib.suppress(TimedOut):
            wait_until(
                lambda: control.exists() or master.poll() is not None,
                timeout=LOGIN_TIMEOUT,
                what=f"an answer of {self.name}'s ssh",
            )
        return control.exists()

    def _boot_or_none(self) -> str | None:
        """The id of the boot, unless the machine goes down just now."""
        with contextlib.suppress(CommandFailed):
            return self.boot_id()
        return None

    def _drop_connection(self) -> None:
        if self._master is not None:
            self._master.kill()
            self._master.wait()
            self._master = None
        (self.folder / "ssh").unlink(missing_ok=True)

    def reboot(self, *, timeout: float | None = None) -> None:
        """`systemctl reboot` inside; QEMU goes on, the boot is another one afterwards."""
        self._go_down("reboot", timeout)

    def kexec(self) -> None:
        """`systemctl kexec` into the same kernel, past the firmware."""
        for file in ("kernel", "initrd"):
            self.copy_to(self._base / file, f"/root/{file}")
        self.succeed("kexec -l /root/kernel --initrd=/root/initrd --reuse-cmdline")
        self._go_down("kexec", None)

    def _go_down(self, verb: str, timeout: float | None) -> None:
        before = self.boot_id()
        limit = REBOOT_TIMEOUT if timeout is None else timeout
        self.run(f"systemctl {verb}")
        if self._master is not None:
            # It ends when the guest stops its sshd; to call again and again would slow that down.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._master.wait(limit)
        self._wait_for_boot(before, limit)
        self.wait_for_docker()

    def wait_for_shutdown(self, *, timeout: float | None = None, said: Result | None = None) -> int:
        """Wait until QEMU has ended. Raises `TimedOut`."""
        status = super().wait_for_shutdown(timeout=timeout, said=said)
        self._drop_connection()
        return status

    def panic(self) -> None:
        """A crash of the kernel by sysrq, and the boot after it."""
        before = self.boot_id()
        self.succeed("sync; sysctl -q kernel.panic=1 kernel.sysrq=1")
        self.run("(sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
        self._drop_connection()
        self._wait_for_boot(before, REBOOT_TIMEOUT)

    def crash(self) -> None:
        """SIGKILL for QEMU."""
        if self._process is None or not self.is_up:
            raise MachineError(f"{self.name} is off")
        self._process.kill()
        self._process.wait()
        self._drop_connection()

    def close(self) -> None:
        """Kill QEMU and remove all the machine consisted of."""
        super().close()
        self._drop_connection()

    def _copy_journal(self, target: Path) -> None:
        self.copy_from("/var/log/journal", target)


def has_working_kvm(kernel: Path) -> bool:
    """Whether this machine runs that kernel under KVM; tried once in each boot, as /dev/kvm alone says nothing."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = cache.folder("probes") / f"kvm-{cache.digest(boot, str(kernel))}"
    with cache.lock("kvm"):
        if not known.exists():
            known.write_text("yes" if os.access("/dev/kvm", os.W_OK) and _kernel_starts(kernel) else "no")
    return known.read_text() == "yes"


def _kernel_starts(kernel: Path) -> bool:
    """Boot a kernel without a root: it panics, which shows that it runs. Where KVM does not work QEMU may hang."""
    argv = [
        *("qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "512", "-kernel", str(kernel)),
        *("-append", "console=ttyS0 panic=-1", "-no-reboot", "-display", "none", "-serial", "stdio"),
    ]
    with contextlib.suppress(CommandFailed):
        return "Kernel panic" in run(argv, timeout=PROBE_TIMEOUT).stdout
    return False
