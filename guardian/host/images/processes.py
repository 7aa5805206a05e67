"""Processes and threads, as CRIU's images have them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pycriu.images import pb

from guardian.host.images import files, kernel_names
from guardian.host.images.folder import BadImage, Folder, Message
from guardian.host.images.memory import Memory, Where
from guardian.host.images.text import strings, text
from guardian.model.inspection import Credentials, Inspection, MemoryMapping, Process, Thread, Timer

MOST_ARGUMENTS = 4 << 20
"""Bytes of arguments or environment that are read; the kernel allows a quarter of the stack's limit."""
_MOST_PROCESSES = 1 << 20
_NO_LIMIT = (1 << 64) - 1
_NOBODY = (1 << 32) - 1
_PAGES = re.compile(r"pages-[0-9]+\.img")
_STATES = {1: "running", 2: "dead", 3: "stopped", 6: "zombie"}  # criu/include/pstree.h, TASK_*
_ARCHITECTURE = 1  # core_entry.march, X86_64
_SECCOMP = ("disabled", "strict", "filter")
_ALIVE, _STOPPED = 1, 3


def inspect(folder: Folder) -> Inspection:
    """Everything that the images of a dump say; raises BadImage for the first thing that is wrong."""
    inventory = folder.one("inventory.img", "INVENTORY", pb.inventory_entry)
    names = _names(folder)
    sizes = folder.sizes()
    reader = _Processes(folder)
    open_files = reader.open_files
    return Inspection(
        hostname=names[0],
        criu=f"images version {inventory.img_version}",
        size=sum(sizes.values()),
        processes=tuple(reader.all()),
        sockets=tuple(sorted(open_files.sockets(), key=lambda item: item.key)),
        pipes=tuple(files.pipes(folder)),
        mounts=tuple(files.mounts(folder)),
        locks=tuple(files.locks(folder)),
        domainname=names[1],
        pages=sum(size for name, size in sizes.items() if _PAGES.fullmatch(name.rpartition("/")[2])),
    )


def statistics(folder: Folder) -> Mapping[str, int]:
    """What CRIU counted while it dumped into the folder beside; empty where it left nothing."""
    if not folder.has("stats-dump"):
        return {}
    dump = folder.one("stats-dump", "STATS", pb.stats_entry).dump
    return {field.name: int(getattr(dump, field.name)) for field in dump.DESCRIPTOR.fields}


def tree(folder: Folder) -> list[Message]:
    """The entries of the process tree, parents before children; raises BadImage where it is none."""
    found: dict[int, Message] = {}
    for entry in folder.messages("pstree.img", "PSTREE", pb.pstree_entry):
        if int(entry.pid) in found or len(found) > _MOST_PROCESSES:
            raise BadImage("pstree.img has a process twice", str(int(entry.pid)))
        found[int(entry.pid)] = entry
    children: dict[int, list[int]] = {}
    for pid, entry in found.items():
        parent = int(entry.ppid)
        children.setdefault(parent if parent in found and parent != pid else -1, []).append(pid)
    ordered, left = [], sorted(children.get(-1, ()), reverse=True)
    while left:
        pid = left.pop()
        ordered.append(found[pid])
        left += sorted(children.get(pid, ()), reverse=True)
    if len(ordered) != len(found):
        raise BadImage("pstree.img is no tree", "some processes are their own ancestors")
    return ordered


class _Processes:
    """Reads the processes of a dump, one after the other."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.open_files = files.OpenFiles(folder)
        self._cgroups = _cgroups(folder)

    def all(self) -> Iterator[Process]:
        """Every process, parents first."""
        for entry in tree(self._folder):
            yield self._process(entry)

    def _process(self, entry: Message) -> Process:
        pid = int(entry.pid)
        core = self._core(pid)
        if core.tc.task_state not in (_ALIVE, _STOPPED):
            return Process(**_family(entry, core))
        memory = Memory(self._folder, pid, self.open_files)
        layout = memory.layout
        place = self._folder.one(f"fs-{pid}.img", "FS", pb.fs_entry)
        ids = core.ids if core.HasField("ids") else self._ids(pid)
        threads = tuple(self._threads(entry, core))
        return Process(
            **_family(entry, core),
            command_line=_block(memory, layout.mm_arg_start, layout.mm_arg_end),
            environment=_block(memory, layout.mm_env_start, layout.mm_env_end),
            executable=self.open_files.path_of(int(layout.exe_file_id)),
            working_directory=self.open_files.path_of(int(place.cwd_id)),
            root=self.open_files.path_of(int(place.root_id)),
            umask=int(place.umask),
            cgroup=self._cgroups.get(int(core.thread_core.cg_set or core.tc.cg_set), ""),
            oom_score_adj=int(core.tc.oom_score_adj),
            credentials=self._credentials(pid, core),
            threads=threads,
            files=self.open_files.of(int(ids.files_id)),
            memory=tuple(self._mappings(memory)),
            timers=tuple(_timers(core.tc.timers)),
            handlers=_handlers(core.tc.sigactions),
            pending=_pending(core.tc.signals_s),
            limits=_limits(core.tc.rlimits),
            layout=_layout(layout),
            login_uid=-1 if int(core.tc.loginuid) == _NOBODY else int(core.tc.loginuid),
            dumpable=not layout.HasField("dumpable") or int(layout.dumpable) == 1,
            child_subreaper=bool(core.tc.child_subreaper),
        )

    def _core(self, tid: int) -> Message:
        core = self._folder.one(f"core-{tid}.img", "CORE", pb.core_entry)
        if int(core.mtype) != _ARCHITECTURE:
            raise BadImage(f"core-{tid}.img is of another architecture", "only x86-64 is understood")
        return core

    def _ids(self, pid: int) -> Message:
        return self._folder.one(f"ids-{pid}.img", "IDS", pb.task_kobj_ids_entry)

    def _credentials(self, pid: int, core: Message) -> Credentials:
        thread = core.thread_core
        if thread.HasField("creds"):
            creds = thread.creds
        else:
            creds = self._folder.one(f"creds-{pid}.img", "CREDS", pb.creds_entry)
        mode = int(thread.seccomp_mode) if thread.HasField("seccomp_mode") else int(core.tc.old_seccomp_mode)
        sets = {
            "inheritable": "inh",
            "permitted": "prm",
            "effective": "eff",
            "bounding": "bnd",
            "ambient": "amb",
        }
        return Credentials(
            uid=int(creds.uid),
            gid=int(creds.gid),
            effective_uid=int(creds.euid),
            effective_gid=int(creds.egid),
            saved_uid=int(creds.suid),
            saved_gid=int(creds.sgid),
            groups=tuple(int(group) for group in creds.groups),
            capabilities={
                name: kernel_names.capabilities(getattr(creds, f"cap_{short}"))
                for name, short in sets.items()
            },
            no_new_privileges=bool(creds.no_new_privs),
            seccomp=_SECCOMP[mode] if 0 <= mode < len(_SECCOMP) else str(mode),
            profile=text(creds.lsm_profile),
            filesystem_uid=int(creds.fsuid),
            filesystem_gid=int(creds.fsgid),
            secure_bits=int(creds.secbits),
        )

    def _threads(self, entry: Message, leader: Message) -> Iterator[Thread]:
        for tid in entry.threads or [entry.pid]:
            core = leader if int(tid) == int(entry.pid) else self._core(int(tid))
            yield _thread(int(tid), core, text(leader.tc.comm))

    def _mappings(self, memory: Memory) -> Iterator[MemoryMapping]:
        for mapping in memory.mappings:
            name = self.open_files.path_of(mapping.file_id) if mapping.file_id else ""
            held = sum(run.length for run in memory.runs(mapping) if run.where is Where.PAGES)
            yield MemoryMapping(
                start=mapping.start,
                end=mapping.end,
                protection=kernel_names.protection(mapping.protection, shared=mapping.shared),
                kind=mapping.kind,
                name=name or f"[{mapping.kind}]",
                offset=mapping.offset,
                in_image=held,
            )


def _family(entry: Message, core: Message) -> dict[str, Any]:
    """What is known of every process, dead or alive."""
    return {
        "pid": int(entry.pid),
        "parent": int(entry.ppid),
        "group": int(entry.pgid),
        "session": int(entry.sid),
        "name": text(core.tc.comm),
        "state": _STATES.get(int(core.tc.task_state), str(int(core.tc.task_state))),
        "exit_code": int(core.tc.exit_code),
    }


def _thread(tid: int, core: Message, name: str) -> Thread:
    registers = core.thread_info.gpregs
    thread = core.thread_core
    blocked = int(thread.blk_sigset if thread.HasField("blk_sigset") else core.tc.blk_sigset)
    orig = int(registers.orig_ax)
    return Thread(
        id=tid,
        name=text(thread.comm) if thread.HasField("comm") else name,
        registers={
            field.name: int(getattr(registers, field.name))
            for field in registers.DESCRIPTOR.fields
            if field.name != "mode"
        },
        blocked=kernel_names.signals(blocked),
        pending=_pending(thread.signals_p),
        niceness=int(thread.sched_nice),
        policy=kernel_names.policy(int(thread.sched_policy)),
        system_call=orig if orig < 1 << 31 else -1,
        priority=int(thread.sched_prio),
        death_signal=kernel_names.signal_name(int(thread.pdeath_sig)) if thread.pdeath_sig else "",
    )


def _layout(layout: Message) -> Mapping[str, int]:
    """Where its parts lie, by name: start_code, end_code, ..."""
    return {
        field.name.removeprefix("mm_"): int(getattr(layout, field.name))
        for field in layout.DESCRIPTOR.fields
        if field.name.startswith("mm_") and field.name != "mm_saved_auxv"
    }


def _block(memory: Memory, begin: int, end: int) -> tuple[str, ...]:
    """The strings of a block of a process's memory; empty where it has unmapped it."""
    if not begin < end <= begin + MOST_ARGUMENTS:
        return ()
    try:
        return strings(memory.read(int(begin), int(end)))
    except BadImage:
        return ()


def _pending(queue: Message) -> tuple[str, ...]:
    return tuple(
        kernel_names.signal_name(int.from_bytes(item.siginfo[:4], "little")) for item in queue.signals
    )


def _timers(timers: Message) -> Iterator[Timer]:
    for kind, signal in (("real", "SIGALRM"), ("virt", "SIGVTALRM"), ("prof", "SIGPROF")):
        item = getattr(timers, kind)
        after, every = item.vsec + item.vusec / 1e6, item.isec + item.iusec / 1e6
        if after or every:
            yield Timer({"virt": "virtual"}.get(kind, kind), 0, signal, after, every)
    for item in timers.posix:
        after, every = item.vsec + item.vnsec / 1e9, item.isec + item.insec / 1e9
        yield Timer("posix", int(item.it_id), kernel_names.signal_name(int(item.si_signo)), after, every)


def _handlers(actions: Message) -> Mapping[str, str]:
    """What each signal does that does not do its default; CRIU leaves out SIGKILL and SIGSTOP."""
    numbers = [number for number in range(1, 65) if number not in (9, 19)]
    found = {}
    for number, action in zip(numbers, actions, strict=False):
        handler = int(action.sigaction)
        if handler:
            found[kernel_names.signal_name(number)] = "ignored" if handler == 1 else f"{handler:#x}"
    return found


def _limits(limits: Message) -> Mapping[str, tuple[int, int]]:
    return {
        kernel_names.limit_name(number): (_limit(item.cur), _limit(item.max))
        for number, item in enumerate(limits.rlimits)
    }


def _limit(value: int) -> int:
    return -1 if int(value) == _NO_LIMIT else int(value)


def _names(folder: Folder) -> tuple[str, str]:
    """The names of its host and of its domain."""
    for name in folder.names():
        if re.fullmatch(r"utsns-[0-9]+\.img", name):
            found = folder.one(name, "UTSNS", pb.utsns_entry)
            return text(found.nodename), text(found.domainname)
    return "", ""


def _cgroups(folder: Folder) -> Mapping[int, str]:
    if not folder.has("cgroup.img"):
        return {}
    found = folder.one("cgroup.img", "CGROUP", pb.cgroup_entry)
    return {int(item.id): text(item.ctls[0].path) for item in found.sets if item.ctls}
