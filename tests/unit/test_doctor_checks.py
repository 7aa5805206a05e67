"""Each check of guardianctl doctor finds what it is for on a host of made-up facts, and nothing where all is well."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guardian.host import (
    canary,
    containerd,
    criu_features,
    docker_daemon,
    encryption,
    facts,
    kernel,
    paths,
    runc,
    space,
    systemd,
)
from guardian.host.command import CommandFailed
from guardian.host.ledger import Ledger
from guardian.model.config import Config, defaults
from guardian.model.errors import BadInput, EngineUnavailable, StoreError
from guardian.model.finding import Severity
from guardian.model.process_status import CAPABILITIES, ProcessStatus
from guardian.work.doctor import (
    clock,
    conntrack,
    drop_in,
    engine,
    live_restore,
    nftables,
    runtimes,
)
from guardian.work.doctor.checks import CHECKS
from guardian.work.doctor.examine import examine, name
from guardian.work.host import Host
from tests.unit.samples import container

_ALL = frozenset(CAPABILITIES)


class _Engine:
    """dockerd, as it answers."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts

    def described(self) -> dict[str, Any]:
        if "error" in self._facts:
            raise EngineUnavailable("dockerd does not answer")
        return self._facts

    def live_restore(self) -> bool:
        return bool(self._facts.get("LiveRestoreEnabled"))

    def close(self) -> None:
        """Nothing is open."""


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    taken: float

    def record(self) -> _Checkpoint:
        if not self.taken:
            raise BadInput("of another format")
        return self


class Made:
    """A host on which all is well, until facts of it are changed."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.config: Config = dataclasses.replace(defaults(), reserve=0)
        self.ledger: Any = Ledger(folder / "store")
        self.dockerd: dict[str, Any] = {"Runtimes": {"runc": {"path": "runc"}}}
        self.unit = {
            "LoadState": "loaded",
            "NeedDaemonReload": "no",
            "ExecStartPre": drop_in._ENGINE_DIED,
            "UnitFileState": "enabled",
        }
        self.states: dict[str, str] = {}
        self._files(folder)
        self._kernel()
        self._programs()
        self._engine()

    def set(self, module: types.ModuleType, **values: Any) -> None:
        """What functions of a module return, or raise."""
        for key, value in values.items():
            self._patch.setattr(module, key, functools.partial(_answer, value))

    def put(self, module: types.ModuleType, key: str, value: Any) -> None:
        """Something else in a module's place of this name."""
        self._patch.setattr(module, key, value)

    def found(self) -> Iterator[tuple[str, Severity, str]]:
        """What doctor says of this host."""
        for item in examine(Host(self.config, self.ledger), CHECKS):
            assert item.why
            assert item.cure
            yield item.name, item.severity, item.what

    def _files(self, folder: Path) -> None:
        for key in ("STATE", "RUN", "HOOKS", "LIBEXEC", "FRONT_FOLDER", "store"):
            place = folder / key
            place.mkdir()
            place.chmod(0o700)
            if key != "store":
                self.put(paths, key, place)
        self.put(paths, "CONFIGURATION", folder / "HOOKS" / "guardian.toml")
        for file in (paths.LIBEXEC / "front", paths.FRONT_FOLDER / "runc", paths.CONFIGURATION):
            file.write_text("front")
            file.chmod(0o600)
        self.unit["Environment"] = f"A=b PATH={paths.FRONT_FOLDER}:/usr/bin"

    def _kernel(self) -> None:
        self.set(kernel, release="6.12.1", unified_cgroups=True, apparmor=True, label="unconfined")
        self.set(kernel, selinux_enforces=False, status=ProcessStatus(_ALL, filtered=False))

    def _programs(self) -> None:
        self.set(runc, criu_version=(4, 1, 1), criu_too_old="", breaking_configuration="", version="1.3.6")
        self.set(runc, dump_flags=("--tcp-established", "--ext-unix-sk", "--file-locks"), binary="/sbin/runc")
        self.set(criu_features, present=True, check="", has=True)
        self.set(canary, attempt=canary.Trial(0.1))
        self.set(shutil, which="/sbin/apparmor_parser")
        self.set(nftables, run=None)
        self.set(conntrack, run=None)

    def _engine(self) -> None:
        self.set(docker_daemon, running_pid=100, invalid="")
        self.set(containerd, without_front="", processes=[200])
        self.set(facts, kept=[])
        self.put(systemd, "main_pid", lambda _: 300)
        self.put(systemd, "shown", lambda *_: self.unit)
        self.put(systemd, "active_state", lambda unit: self.states.get(unit, "active"))
        for module in (engine, runtimes, live_restore):
            self.put(module, "Engine", lambda **_: _Engine(self.dockerd))


def _answer(value: Any, *_: Any, **_named: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(tmp_path, monkeypatch)


@dataclasses.dataclass(frozen=True)
class Case:
    """`spoil` makes the host such that `check` finds something of this severity, in which `what` stands."""

    check: str
    severity: Severity
    what: str
    spoil: Callable[[Made], None]


ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
_LESS = ProcessStatus(_ALL - {"CAP_SYS_ADMIN"}, filtered=False)
_FILTERED = ProcessStatus(_ALL, filtered=True)
_GONE = CommandFailed("it is not there")


def _mode(path: Callable[[], Path], mode: int) -> Callable[[Made], None]:
    return lambda _: path().chmod(mode)


def _another_front(_made: Made) -> None:
    (paths.LIBEXEC / "front").write_text("other")


def _taken(*, ahead: float) -> Callable[[Made], None]:
    def spoil(made: Made) -> None:
        listed = [_Checkpoint(taken) for taken in (1.0, 0.0, time.time() + ahead)]
        made.ledger = types.SimpleNamespace(all=lambda: listed, store=made.ledger.store, size=lambda: 0)

    return spoil


def _full(made: Made) -> None:
    made.config = dataclasses.replace(made.config, reserve=1 << 62)


def _large(made: Made) -> None:
    made.config = dataclasses.replace(made.config, max_container_size=1)
    made.set(facts, kept=[container("big")])
    made.set(space, memory_of=2 << 20)


def _locked(made: Made) -> None:
    made.config = dataclasses.replace(made.config, encrypt=True)
    made.set(encryption, key=StoreError("no key", "it is not there"))


def _lost(made: Made) -> None:
    made.set(encryption, is_set_up=True, key=b"", unlock=StoreError("no key", "it is not there"))


def _facts(module: types.ModuleType, **values: Any) -> Callable[[Made], None]:
    return lambda made: made.set(module, **values)


def _unit(**values: str) -> Callable[[Made], None]:
    return lambda made: made.unit.update(values)


def _state(unit: str, state: str) -> Callable[[Made], None]:
    return lambda made: made.states.update({f"{unit}.service": state})


def _told(**values: Any) -> Callable[[Made], None]:
    return lambda made: made.dockerd.update(values)


CASES = (
    Case("units", ERROR, "guardian-worker.service is failed", _state("guardian-worker", "failed")),
    Case("units", WARNING, "guardian-fence.service is inactive", _state("guardian-fence", "inactive")),
    Case("units", WARNING, "guardian-restore.service has failed", _state("guardian-restore", "failed")),
    Case("units", WARNING, "guardian-hold.service is masked", _unit(UnitFileState="masked")),
    Case("front", ERROR, "runc is not there", lambda _: (paths.FRONT_FOLDER / "runc").unlink()),
    Case("front", WARNING, "not the front of this", _another_front),
    Case("front", ERROR, "by the old path", _facts(containerd, without_front="it runs by the old path")),
    Case("drop-in", NOTE, "have changed since", _unit(NeedDaemonReload="yes")),
    Case("drop-in", WARNING, "its PATH does not begin with", _unit(Environment="PATH=/usr/bin")),
    Case("drop-in", WARNING, "ExecStartPre", _unit(ExecStartPre="")),
    Case("kernel", WARNING, "kernel 6.16.0 needs CRIU 4.2", _facts(kernel, release="6.16.0")),
    Case("cgroups", ERROR, "not of version 2 alone", _facts(kernel, unified_cgroups=False)),
    Case("criu-version", ERROR, "it is not there", _facts(runc, criu_too_old=_GONE)),
    Case("criu-version", ERROR, "CRIU is 3.17", _facts(runc, criu_too_old="CRIU is 3.17")),
    Case("criu-configuration", ERROR, "/etc/criu", _facts(runc, breaking_configuration="/etc/criu: x")),
    Case("criu-features", WARNING, "criu check: no TCP", _facts(criu_features, check="no TCP")),
    Case("criu-features", WARNING, "CRIU has no timens", _facts(criu_features, has=False)),
    Case("runc-program", ERROR, "it is not there", _facts(runc, dump_flags=_GONE)),
    Case(
        "runc-program",
        WARNING,
        "has no --ext-unix-sk, --file-locks",
        _facts(runc, dump_flags=["--tcp-established"]),
    ),
    Case("engine", WARNING, "docker.service does not run", _facts(docker_daemon, running_pid=0)),
    Case("engine", ERROR, "would not start again: bad", _facts(docker_daemon, invalid="bad")),
    Case("runtimes", WARNING, "default runtime is crun", _told(DefaultRuntime="crun")),
    Case("runtimes", ERROR, "runtime runc is /opt/runc", _told(Runtimes={"runc": {"path": "/opt/runc"}})),
    Case("runtimes", ERROR, "rootless", _told(SecurityOptions=["name=rootless"])),
    Case("live-restore", NOTE, "live-restore is on", _told(LiveRestoreEnabled=True)),
    Case("nftables", ERROR, "it is not there", _facts(nftables, run=_GONE)),
    Case("conntrack", WARNING, "it is not there", _facts(conntrack, run=_GONE)),
    Case("apparmor", WARNING, "apparmor_parser is not there", _facts(shutil, which=None)),
    Case(
        "apparmor",
        WARNING,
        "containerd (pid 200) is under the profile x",
        _facts(kernel, label="x (enforce)"),
    ),
    Case("selinux", WARNING, "SELinux enforces", _facts(kernel, selinux_enforces=True)),
    Case(
        "capabilities",
        ERROR,
        "CAP_SYS_ADMIN is missing (containerd, guardian-worker)",
        _facts(kernel, status=_LESS),
    ),
    Case("seccomp", ERROR, "is under a seccomp filter", _facts(kernel, status=_FILTERED)),
    Case("disk", ERROR, "no space in the store", _full),
    Case("disk", WARNING, "big: larger than store.max-container-size", _large),
    Case("encryption", ERROR, "no key: it is not there", _locked),
    Case("encryption", ERROR, "no key: it is not there", _lost),
    Case("permissions", WARNING, "has the mode 0755", _mode(lambda: paths.STATE, 0o755)),
    Case("permissions", WARNING, "has the mode 0666", _mode(lambda: paths.CONFIGURATION, 0o666)),
    Case("clock", WARNING, "at least 17 min", lambda made: made.put(clock, "time", _Behind())),
    Case("clock", WARNING, "at least 60 min", _taken(ahead=3600)),
    Case("canary", ERROR, "restored: SIGSEGV", _facts(canary, attempt=canary.Trial(0.1, failure="SIGSEGV"))),
    Case(
        "canary",
        WARNING,
        "tried: no program",
        _facts(canary, attempt=canary.Trial(0.1, untried="no program")),
    ),
)


class _Behind:
    """A clock that is sixteen minutes and more behind."""

    def time(self) -> float:
        return time.time() - 1000


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.what}")
def test_it_is_found(made: Made, case: Case) -> None:
    """And nothing else is, as far as other checks go."""
    case.spoil(made)
    found = list(made.found())
    assert any(
        (name, severity) == (case.check, case.severity) and case.what in what
        for name, severity, what in found
    ), found
    assert {name for name, _, _ in found} == {case.check}


def test_nothing_is_found_where_all_is_well(made: Made) -> None:
    assert list(made.found()) == []


def test_every_check_finds_what_it_is_for() -> None:
    assert {case.check for case in CASES} == {name(check) for check in CHECKS}


def test_a_dockerd_that_does_not_answer(made: Made) -> None:
    """What asks it as well says that it could not look."""
    made.dockerd["error"] = True
    found = list(made.found())
    assert ("engine", ERROR, "dockerd does not answer") in found
    assert [(name, what) for name, _, what in found if name != "engine"] == [
        ("runtimes", "could not be looked at: dockerd does not answer")
    ]


def test_what_has_gone_by_itself_says_nothing(made: Made) -> None:
    """Where dockerd is down so are units that come and go with it; where there is no CRIU, one check says so."""
    made.set(docker_daemon, running_pid=0)
    made.states |= {"docker.service": "inactive", "guardian-checkpoint.service": "inactive"}
    made.set(kernel, apparmor=False, label="x")
    made.set(runc, criu_version=_GONE, criu_too_old=_GONE)
    made.set(criu_features, present=False, check="no TCP", has=False)
    assert {name for name, _, _ in made.found()} == {"engine", "criu-version"}
