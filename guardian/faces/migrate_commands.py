"""guardianctl migrate and receive at work."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence

from guardian import __version__
from guardian.faces import worker_client
from guardian.faces.asking import tell
from guardian.faces.cli_migrate import remote_command
from guardian.faces.configuration import load_config
from guardian.faces.jobs import MOST_WAIT, Call, Move, Status, status_of
from guardian.faces.worker_client import Conversation, WorkerUnavailable
from guardian.host import criu_cpu
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.host.frames import Input, LinkLost, Output, Progress
from guardian.host.ssh import Remote
from guardian.model.container import Container
from guardian.model.errors import BadInput, CannotSave, GuardianError, UnknownContainer
from guardian.model.move import PROTOCOL, Offer, move_id
from guardian.model.outcome import Result
from guardian.model.wording import escaped
from guardian.work import arriving, departing, guarded
from guardian.work.checkpoint import line
from guardian.work.coming import COMPLETE
from guardian.work.departing import Arrived, Departing, Refused, Undecided
from guardian.work.host import Host
from guardian.work.passenger import Passenger

_PROJECT = "com.docker.compose.project"
_FIRST_WORD = 600.0
"""Seconds for the source to count what it offers."""
_TURN = 60.0
_REFUSALS = (BadInput, CannotSave, UnknownContainer, Refused)


def migrate(remote: Remote, options: argparse.Namespace) -> int:
    """Move containers over a link that is being made; errors on standard error, the exit status as of all commands."""
    return _run(lambda: _migrate(remote, options), json_wanted=options.json)


def resolve(options: argparse.Namespace) -> int:
    """Finish moves that were left undecided."""
    return _run(lambda: _resolve(options), json_wanted=options.json)


def receive(options: argparse.Namespace) -> int:
    """The other end, started by ssh: standard input and output are the link."""
    return _run(lambda: _receive(options), json_wanted=False)


def _run(command: Callable[[], int], *, json_wanted: bool) -> int:
    try:
        return command()
    except Refused as error:
        for problem in error.problems:
            print(f"guardianctl: {escaped(problem)}", file=sys.stderr)
        tell(error, json_wanted=json_wanted)
        return Status.REFUSED
    except (GuardianError, OSError) as error:
        print(f"guardianctl: {escaped(str(error))}", file=sys.stderr)
        tell(error, json_wanted=json_wanted)
        return Status.REFUSED if isinstance(error, _REFUSALS) else Status.FAILED


def _migrate(remote: Remote, options: argparse.Namespace) -> int:
    say = _Sayer(options)
    with contextlib.closing(Engine(limit=120.0)) as engine:
        try:
            passengers = _passengers(engine, options)
        except BaseException:
            remote.hang_up()
            raise
        try:
            offer = _offer(engine, passengers, options)
            there, group = engine.containers(), {item.container.name for item in passengers}
            for passenger in passengers:
                if told := passenger.losses(there, group):
                    say(told)
            return _move(remote, offer, passengers, engine, options, say)
        except LinkLost as error:
            _say_who_goes_on(engine, passengers, say)
            raise remote.why(error) from error
        except (Refused, Undecided):
            raise
        except (GuardianError, KeyboardInterrupt):
            _say_who_goes_on(engine, passengers, say)
            raise


def _passengers(engine: Engine, options: argparse.Namespace) -> list[Passenger]:
    if not 0 < options.limit <= MOST_WAIT:
        raise BadInput("the limit does not parse", f"it must be above 0 and at most {MOST_WAIT:g} seconds")
    chosen = _chosen(engine, options.names[:-1], options.compose)
    if options.name and len(chosen) != 1:
        raise BadInput("another name is for one container")
    config = load_config()
    return [Passenger(number, container, config) for number, container in enumerate(chosen)]


def _say_who_goes_on(engine: Engine, passengers: Sequence[Passenger], say: _Sayer) -> None:
    """What a person wants to know first when a move came to nothing."""
    with contextlib.suppress(GuardianError):
        for passenger in passengers:
            if engine.container(passenger.container.id).running:
                say(f"{passenger.container.name} goes on here")


def _offer(engine: Engine, passengers: Sequence[Passenger], options: argparse.Namespace) -> Offer:
    return Offer(
        move=secrets.token_hex(16),
        host=os.uname().nodename,
        guardian=__version__,
        cpu=criu_cpu.described().hex(),
        members=tuple(passenger.offer(engine) for passenger in passengers),
        names={passengers[0].container.name: options.name} if options.name else {},
        overwrite_volumes=options.overwrite_volumes,
    )


def _chosen(engine: Engine, names: Sequence[str], projects: Sequence[str]) -> list[Container]:
    """The containers that are meant, each once, in the order in which they are to run there."""
    there = engine.containers()
    wanted = {guarded.named(there, name).id for name in names}
    for project in projects:
        found = {item.id for item in there if item.labels.get(_PROJECT) == project and item.running}
        if not found:
            raise UnknownContainer(f"no container of the Compose project {project!r} runs")
        wanted |= found
    if not wanted:
        raise BadInput("no container is named")
    config = load_config()
    order = guarded.find(there, config, also=wanted).graph.restore_order()
    known = {item.id: item for item in there}
    return [known[container_id] for container_id in order if container_id in wanted]


def _move(
    remote: Remote,
    offer: Offer,
    passengers: Sequence[Passenger],
    engine: Engine,
    options: argparse.Namespace,
    say: _Sayer,
) -> int:
    progress = Progress(say.progress, every=0.2 if sys.stderr.isatty() else 5.0)
    remote.link[1].passed = progress.passed
    going = Departing(offer, passengers, remote.link, say, progress)
    images = going.offered()
    if options.check:
        going.decline()
        names = [item.container.name for item in passengers]
        say(f"{remote.host} can take {', '.join(names)}")
        if options.json:
            print(json.dumps({"host": remote.host, "accepted": names}, indent=1))
        return Status.DONE
    going.send_ahead(engine, images)
    along = {str(item) for passenger in passengers for item in passenger.moving}
    move = Move(offer.move, remote.host, options.limit, tuple(sorted(along)))
    ids = tuple(item.container.id for item in passengers)
    with Conversation(worker_client.request(Call.DEPART, ids, move=move)) as talk:
        arrived = going.hand_over(talk, remote.host)
    return _shown(arrived, remote.host, options, say)


def _shown(arrived: Arrived, host: str, options: argparse.Namespace, say: _Sayer) -> int:
    for result in arrived.results:
        say(f"{line(result)} on {host}")
    if options.json:
        data = {
            "host": host,
            "results": [result.to_json() for result in arrived.results],
            "downtime": round(arrived.downtime, 3),
            "bytes": arrived.bytes,
        }
        print(json.dumps(data, indent=1))
    else:
        print(f"stood still for {arrived.downtime:.1f} s, {arrived.bytes / (1 << 20):.0f} MiB sent")
    return status_of(Call.RESTORE, list(arrived.results))


class _Sayer:
    """Says things: on standard error where the output is JSON. The move goes on when nobody hears them any more."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._file = sys.stderr if options.json else sys.stdout

    def __call__(self, text: str) -> None:
        """One line."""
        with contextlib.suppress(BrokenPipeError):
            print(escaped(text), file=self._file, flush=True)

    def progress(self, text: str) -> None:
        """How the sending goes: over itself on a terminal."""
        end = "\r" if sys.stderr.isatty() else "\n"
        with contextlib.suppress(BrokenPipeError):
            print(f"  {text}      " if end == "\r" else text, end=end, file=sys.stderr, flush=True)


def _resolve(options: argparse.Namespace) -> int:
    """Tell the other host what was decided here, for each move to it that is open."""
    *names, host = options.names
    ledger = Host.of(load_config()).ledger
    found: dict[str, list[Checkpoint]] = {}
    for checkpoint in ledger.all():
        travel = checkpoint.travel()
        name = checkpoint.record().container.name
        if (
            travel is not None
            and travel.host == host
            and checkpoint.open_move()
            and (not names or name in names)
        ):
            found.setdefault(travel.move, []).append(checkpoint)
    say = _Sayer(options)
    if not found:
        others = {travel.host for item in ledger.all() if item.open_move() and (travel := item.travel())}
        say(
            f"nothing is open with {host}"
            + (f"; with {', '.join(sorted(others))} there is" if others else "")
        )
        return Status.DONE
    statuses = []
    for move, checkpoints in found.items():
        verdict = checkpoints[0].verdict()
        assert verdict is not None
        with Remote(host, remote_command(options), batch=options.batch) as remote:
            incoming, output = remote.link
            try:
                output.message({"resolve": move, "verdict": verdict.value})
                answer = incoming.message(limit=departing.ENDING)
            except LinkLost as error:
                raise remote.why(error) from error
        if "failed" in answer:
            raise GuardianError(f"{host} could not finish the move", str(answer["failed"])[:2000])
        results = [Result.from_json(item) for item in answer.get("results") or ()]
        departing.close(checkpoints, results)
        for result in results:
            say(f"{line(result)} on {host}")
        for checkpoint in checkpoints if not results else ():
            say(f"{checkpoint.record().container.name}: {verdict.value}, {host} has nothing to do")
        statuses.append(status_of(Call.RESTORE, results))
    return max(statuses)


def _receive(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="guardianctl: %(message)s", stream=sys.stderr)
    if options.protocol != PROTOCOL:
        raise BadInput(
            f"the other guardian speaks protocol {options.protocol}, this one {PROTOCOL}",
            hint="install the same guardian on both hosts",
        )
    incoming, output = Input(sys.stdin.fileno()), Output(sys.stdout.fileno())
    first = incoming.message(limit=_FIRST_WORD)
    host = Host.of(load_config())
    with _told(output):
        if "resolve" in first:
            moved = first.get("verdict") == "commit"
            results = arriving.resolve(host, move_id(first["resolve"]), moved=moved, worker=_Worker())
            output.message({"done": True, "results": [result.to_json() for result in results]})
        else:
            arriving.receive(host, first, (incoming, output), _Worker())
    return Status.DONE


@contextlib.contextmanager
def _told(output: Output) -> Iterator[None]:
    """What goes wrong is told to the one who asked as well."""
    try:
        yield
    except GuardianError as error:
        with contextlib.suppress(LinkLost):
            output.message({"failed": str(error)[:2000]})
        raise


class _Worker:
    """Asked over its socket."""

    def restore(self, ids: Sequence[str]) -> list[Result]:
        """What became of each container; raises GuardianError."""
        found = worker_client.ask(worker_client.request(Call.RESTORE, tuple(ids)), say=_ignore)
        if found.error is not None:
            raise GuardianError("the worker refused", found.error[1])
        return [Result.from_json(item) for item in found.results]

    def arrive(self, ids: Sequence[str]) -> _Restoring:
        """Have containers started whose images are still coming; raises WorkerUnavailable."""
        return _Restoring(Conversation(worker_client.request(Call.ARRIVE, tuple(ids))))


class _Restoring:
    """The worker's call `arrive` (work/coming)."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk

    def complete(self) -> None:
        """The images are there; raises WorkerUnavailable."""
        self._talk.tell({"word": COMPLETE})

    def give_up(self) -> None:
        """They will never be."""
        with contextlib.suppress(WorkerUnavailable):
            self._talk.tell({"word": "void"})

    def results(self) -> list[Result]:
        """Wait for the end; raises GuardianError."""
        while "done" not in (said := self._talk.hear(_TURN)):
            pass
        if said.get("error"):
            raise GuardianError("the worker refused", str(said["error"]["text"]))
        return [Result.from_json(item) for item in said["results"]]

    def close(self) -> None:
        """Nobody listens any more."""
        self._talk.close()


def _ignore(_text: str) -> None:
    return
