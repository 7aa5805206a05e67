"""`guardianctl status`: what docs/json.md says of it, and its exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from guardian import __version__
from guardian.faces import cli, worker_client
from guardian.faces.jobs import Status
from guardian.faces.worker_client import Answer, WorkerUnavailable
from guardian.host import containerd, paths, systemd

_JSON = Path(__file__).resolve().parents[2] / "docs" / "json.md"
_UNITS = dict.fromkeys(("guardian-worker", "guardian-checkpoint", "guardian-hold"), "active")


@pytest.fixture(autouse=True)
def _healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers that run and one that is held."""
    (tmp_path / "runc").touch()
    found = [{"state": "running"}, {"state": "held"}, {"state": "running"}]
    monkeypatch.setattr(paths, "FRONT_FOLDER", tmp_path)
    monkeypatch.setattr(containerd, "without_front", lambda: "")
    monkeypatch.setattr(systemd, "active_state", lambda _: "active")
    monkeypatch.setattr(worker_client, "ask", lambda *_, **__: Answer(Status.DONE, found, None))


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--json"]) == Status.DONE
    shown = json.loads(capsys.readouterr().out)
    assert shown == {
        "version": __version__,
        "units": _UNITS,
        "runtime_in_path": True,
        "containers": {"running": 2, "held": 1},
    }
    documented = re.search(r"`guardianctl status --json`: (.*?)\.\n", _JSON.read_text(), re.DOTALL)
    assert documented
    assert re.findall(r"`(\w+)`", documented[1]) == list(shown)


def test_a_unit_that_is_down(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    states = _UNITS | {"guardian-hold": "failed"}
    monkeypatch.setattr(systemd, "active_state", lambda unit: states[unit.removesuffix(".service")])
    assert cli.main(["status", "--json"]) == Status.FAILED
    assert json.loads(capsys.readouterr().out)["units"] == states


@pytest.mark.parametrize("where", ["file", "containerd"])
def test_a_runtime_that_is_not_in_the_path(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "file":
        (tmp_path / "runc").unlink()
    else:
        monkeypatch.setattr(containerd, "without_front", lambda: "it was started without it")
    assert cli.main(["status", "--json"]) == Status.FAILED
    assert json.loads(capsys.readouterr().out)["runtime_in_path"] is False


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == Status.DONE
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "runtime in the path  yes",
        "guarded containers   2 running, 1 held",
    ]


def test_without_a_worker(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> Answer:
        raise WorkerUnavailable("the worker does not answer")

    monkeypatch.setattr(worker_client, "ask", refuses)
    assert cli.main(["status", "--json"]) == Status.FAILED
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "guardianctl: the worker does not answer\n")
