"""The fields that `crit decode` prints of processes and their threads."""

from __future__ import annotations

import base64
import operator
import signal
from collections.abc import Iterator
from typing import Any

from tests.comparison.told import Facts, Field, Show, Told, dig, not_shown, number, per_process

CORE = "crit decode core-PID.img"
_STATES = {1: "running", 2: "dead", 3: "stopped", 6: "zombie"}
_POLICIES = ("other", "fifo", "rr", "batch", "iso", "idle", "deadline")
_NOBODY = (1 << 32) - 1


def first(told: Told, image: str) -> dict[int, Facts]:
    """The entry of the image that each process has one of."""
    return {process["pid"]: told.image(image.format(process["pid"]))[0] for process in told.processes()}


def each_process(image: str, name: str, place: str, theirs: Show, ours: Show, default: Any = 0) -> Field:
    """A field of which each process has one; `theirs` is given its value."""
    return Field(
        f"crit decode {image.format('PID')}",
        name,
        f"processes[].{place}",
        lambda told: {pid: theirs(dig(entry, name, default)) for pid, entry in first(told, image).items()},
        per_process(ours),
    )


def core(name: str, place: str, theirs: Show = number, ours: Show | None = None, default: Any = 0) -> Field:
    """A field of the core image of each process's first thread."""
    return each_process("core-{}.img", name, place, theirs, ours or operator.itemgetter(place), default)


def _table(name: str, part: str, place: str, theirs: Show, ours: Show) -> Field:
    """A field of the entries of a list that each process has one of."""
    return Field(
        CORE,
        f"{name}.{part}",
        f"processes[].{place}",
        lambda told: {pid: theirs(dig(entry, name, [])) for pid, entry in first(told, "core-{}.img").items()},
        per_process(ours),
    )


def _thread(name: str, place: str, theirs: Show, ours: Show, default: Any = 0) -> Field:
    """A field of which each thread has one."""
    path = name.removesuffix(".*").removesuffix(".siginfo")
    return Field(
        CORE,
        name,
        f"processes[].threads[].{place}",
        lambda told: {
            thread["id"]: theirs(dig(told.image(f"core-{thread['id']}.img")[0], path, default))
            for thread in told.threads()
        },
        lambda told: {thread["id"]: ours(thread) for thread in told.threads()},
    )


def _family(name: str, key: str, show: Show) -> Field:
    return Field(
        "crit decode pstree.img",
        name,
        f"processes[].{key}",
        lambda told: {entry["pid"]: entry[name] for entry in told.image("pstree.img")},
        per_process(show),
    )


def _pstree() -> Iterator[Field]:
    for name, key in (("pid", "pid"), ("ppid", "parent"), ("pgid", "group"), ("sid", "session")):
        yield _family(name, key, operator.itemgetter(key))
    yield _family("threads", "threads[].id", lambda process: [each["id"] for each in process["threads"]])


def signal_number(name: str) -> int:
    """The number of a signal by our name for it."""
    if name.startswith("SIGRTMIN+"):
        return int(signal.SIGRTMIN) + int(name.removeprefix("SIGRTMIN+"))
    return int(getattr(signal, name, 0)) or int(name)


def _bits(names: list[str]) -> int:
    return sum(1 << signal_number(name) - 1 for name in names)


def _queued(signals: list[Facts]) -> list[int]:
    """The numbers of signals that wait."""
    return [int.from_bytes(base64.b64decode(item["siginfo"])[:4], "little") for item in signals]


def _numbers(names: list[str]) -> list[int]:
    return [signal_number(name) for name in names]


def _timers(timers: Facts) -> list[tuple[str, float, float]]:
    found = []
    for kind, name in (("real", "real"), ("virt", "virtual"), ("prof", "prof")):
        item = timers[kind]
        after, every = item["vsec"] + item["vusec"] / 1e6, item["isec"] + item["iusec"] / 1e6
        found += [(name, after, every)] if after or every else []
    return found


def _limits(limits: list[Facts]) -> list[tuple[int, int]]:
    def one(value: object) -> int:
        return -1 if number(value) == (1 << 64) - 1 else number(value)

    return [(one(item["cur"]), one(item["max"])) for item in limits]


def _our_limits(process: Facts) -> list[tuple[int, int]]:
    return [(soft, hard) for soft, hard in process["limits"].values()]


def _handlers(actions: list[Facts]) -> dict[int, int]:
    numbers = [each for each in range(1, 65) if each not in (9, 19)]
    found = {each: number(action["sigaction"]) for each, action in zip(numbers, actions, strict=False)}
    return {each: handler for each, handler in found.items() if handler}


def _our_handlers(process: Facts) -> dict[int, int]:
    return {
        signal_number(name): 1 if handler == "ignored" else number(handler)
        for name, handler in process["handlers"].items()
    }


def _of_cgroup(told: Told) -> dict[int, str]:
    (found,) = told.image("cgroup.img")
    paths = {item["id"]: item["ctls"][0]["path"] for item in found["sets"]}
    return {
        pid: paths[dig(entry, "thread_core.cg_set") or dig(entry, "tc.cg_set")]
        for pid, entry in first(told, "core-{}.img").items()
    }


def _task() -> Iterator[Field]:
    yield core("tc.task_state", "state", lambda value: _STATES[number(value)])
    yield core("tc.exit_code", "exit_code")
    yield core("tc.comm", "name", str, default="")
    yield core("tc.oom_score_adj", "oom_score_adj")
    yield core("tc.loginuid", "login_uid", lambda value: -1 if number(value) == _NOBODY else number(value))
    yield core("tc.child_subreaper", "child_subreaper", bool, default=False)
    yield core("tc.blk_sigset", "threads[0].blocked", number, lambda one: _bits(one["threads"][0]["blocked"]))
    yield Field(
        CORE,
        "tc.timers.*",
        "processes[].timers",
        lambda told: {
            pid: _timers(entry["tc"]["timers"]) for pid, entry in first(told, "core-{}.img").items()
        },
        per_process(lambda one: [(item["kind"], item["next"], item["interval"]) for item in one["timers"]]),
    )
    yield _table("tc.rlimits.rlimits", "cur", "limits", _limits, _our_limits)
    yield _table("tc.rlimits.rlimits", "max", "limits", _limits, _our_limits)
    yield _table("tc.sigactions", "sigaction", "handlers", _handlers, _our_handlers)
    yield _table("tc.signals_s.signals", "siginfo", "pending", _queued, lambda one: _numbers(one["pending"]))
    for name in ("tc.cg_set", "thread_core.cg_set"):
        path = operator.itemgetter("cgroup")
        remark = "the path of the set in cgroup.img"
        yield Field(CORE, name, "processes[].cgroup", _of_cgroup, per_process(path), remark=remark)
    yield from not_shown(CORE, "mtype", why="x86-64 only, others are refused")
    others = ("flags", "restorer", "mask", "mask_extended", "compat_sigaction")
    yield from not_shown(CORE, *(f"tc.sigactions.{name}" for name in others))
    rest = ("personality", "flags", "stop_signo", "membarrier_registration_mask", "blk_sigset_extended")
    yield from not_shown(CORE, *(f"tc.{name}" for name in rest), "tc.old_seccomp_*", "ids.*")
    yield from not_shown(CORE, "thread_info.gpregs.mode", "thread_info.clear_tid_addr")


def _blocked(told: Told) -> dict[int, int]:
    """What the threads have blocked of which it stands there: that of a first one is in `tc`."""
    found = {
        thread["id"]: dig(told.image(f"core-{thread['id']}.img")[0], "thread_core.blk_sigset")
        for thread in told.threads()
    }
    return {id: number(value) for id, value in found.items() if value is not None}


def _our_blocked(told: Told) -> dict[int, int]:
    theirs = _blocked(told)
    return {thread["id"]: _bits(thread["blocked"]) for thread in told.threads() if thread["id"] in theirs}


def _threads() -> Iterator[Field]:
    yield _thread(
        "thread_info.gpregs.*",
        "registers",
        lambda found: {name: number(value) for name, value in found.items() if name != "mode"},
        operator.itemgetter("registers"),
    )
    for name in ("thread_info.fpregs.*", "thread_info.tls.*"):
        yield Field(CORE, name, "guardianctl coredump", shown_by="test_coredump")
    own = "thread_core"
    yield _thread(f"{own}.sched_nice", "niceness", number, operator.itemgetter("niceness"))
    policy = operator.itemgetter("policy")
    yield _thread(f"{own}.sched_policy", "policy", lambda value: _POLICIES[number(value)], policy)
    yield _thread(f"{own}.sched_prio", "priority", number, operator.itemgetter("priority"))
    yield _thread(
        f"{own}.pdeath_sig",
        "death_signal",
        number,
        lambda thread: signal_number(thread["death_signal"]) if thread["death_signal"] else 0,
    )
    yield Field(CORE, f"{own}.blk_sigset", "processes[].threads[].blocked", _blocked, _our_blocked)
    pending = f"{own}.signals_p.signals.siginfo"
    yield _thread(pending, "pending", _queued, lambda thread: _numbers(thread["pending"]), [])
    yield Field(
        CORE,
        f"{own}.comm",
        "processes[].threads[].name",
        lambda told: {
            thread["id"]: dig(told.image(f"core-{thread['id']}.img")[0], f"{own}.comm", thread["name"])
            for thread in told.threads()
        },
        lambda told: {thread["id"]: thread["name"] for thread in told.threads()},
    )
    others = ("futex_rla", "futex_rla_len", "sas.*", "rseq_entry.*", "seccomp_filter", "blk_sigset_extended")
    yield from not_shown(CORE, *(f"{own}.{name}" for name in others))


FIELDS: tuple[Field, ...] = (*_pstree(), *_task(), *_threads())
