"""The XML is the interface: what stands behind it fits, and all of it is documented."""

from __future__ import annotations

import inspect
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import SignatureTree

from guardian.faces import bus_jobs, bus_values
from guardian.faces.bus import Guardian
from guardian.faces.bus_dispatch import as_variants
from guardian.faces.bus_interface import JOB, JOBS, NAME, PROPERTIES, introspection, parse, promised, standard
from guardian.faces.bus_jobs import Job
from guardian.faces.bus_worker import Refused
from guardian.faces.jobs import Status
from guardian.faces.worker_client import Answer
from guardian.model.errors import GuardianError

TOP = Path(__file__).resolve().parents[2]
RESULT = {
    "container_id": "a" * 64,
    "name": "redis",
    "outcome": "saved",
    "reason": "",
    "seconds": 1,
    "checkpoint": "c1",
}


class Deaf:
    def emit(self, path: str, interface: str, member: str, *values: Any) -> None:
        pass

    def changed(self, path: str, interface: str, values: dict[str, Any], names: Any) -> None:
        pass


def test_every_method_is_there_and_takes_what_is_promised() -> None:
    methods = Guardian(bus_jobs.Jobs(Deaf(), lambda: None)).methods
    assert methods.keys() == promised()[NAME].methods.keys()
    for name, method in promised()[NAME].methods.items():
        taken = len(inspect.signature(methods[name]).parameters) - 1  # the caller comes first
        assert taken == len(SignatureTree(method.takes).types)
        assert method.takes.endswith("a{sv}"), "options come last"


@pytest.mark.parametrize("running", [True, False])
def test_a_job_has_the_properties_that_are_promised(running: bool) -> None:
    job = Job(7, "checkpoint")
    job.say("half")
    if not running:
        job.finish(Answer(Status.FAILED, [RESULT], ("Busy", "later")))
    assert job.path == f"{JOBS}/7"
    assert as_variants(promised()[JOB], job.values()).keys() == promised()[JOB].properties.keys()


def documentation(element: ET.Element) -> str:
    texts = [item.attrib["value"] for item in element if item.attrib["name"] == "org.gtk.GDBus.DocString"]
    return "".join(texts)


@pytest.mark.parametrize("name", [NAME, JOB])
def test_everything_is_documented_where_it_is_promised(name: str) -> None:
    element = promised()[name].element
    assert documentation(element)
    for kind in ("method", "signal", "property"):
        for item in element.iter(kind):
            assert documentation(item), item.attrib["name"]
            assert item.get("access", "read") == "read"
            assert all(arg.get("name") for arg in item.iter("arg"))


def errors() -> set[str]:
    found, waiting = set(), [GuardianError]
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if error is not Refused:
            found.add(error.name)
    return found


def test_the_page_names_everything() -> None:
    page = (TOP / "docs" / "dbus.md").read_text()
    for interface in promised().values():
        for names in (interface.methods, interface.signals, interface.properties):
            assert [name for name in names if name not in page] == []
    keys = [*bus_values._RESULT, *bus_values._CONTAINER]
    assert [key for key in keys if f"`{key}`" not in page] == []
    assert [name for name in sorted(errors()) if f"| `{name}` |" not in page] == []
    job = promised()[JOB].element
    results = documentation(next(item for item in job.iter("property") if item.get("name") == "Results"))
    assert [key for key in bus_values._RESULT if f"{key} (" not in results] == []


def test_introspection_data_can_be_read_back() -> None:
    text = introspection([promised()[NAME]], {"job"})
    assert parse(text) == {NAME: promised()[NAME], **standard()}
    assert [node.attrib for node in ET.fromstring(text).iter("node")] == [{}, {"name": "job"}]
    assert "\n" not in documentation(parse(text)[NAME].element)


def test_what_is_read_of_an_interface() -> None:
    root, job = promised()[NAME], promised()[JOB]
    assert (root.methods["Checkpoint"].takes, root.methods["Checkpoint"].gives) == ("asa{sv}", "o")
    assert root.signals == {"JobNew": "uo", "JobRemoved": "uos"}
    assert (job.properties["Progress"].type, job.properties["Progress"].emits) == ("as", "invalidates")
    assert standard()[PROPERTIES].signals == {"PropertiesChanged": "sa{sv}as"}
