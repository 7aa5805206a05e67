"""The interfaces of the bus face, read from the XML that promises them."""

from __future__ import annotations

import dataclasses
import functools
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

NAME = "org.dockerguardian.Guardian1"
JOB = f"{NAME}.Job"
ROOT = "/org/dockerguardian/Guardian1"
JOBS = f"{ROOT}/job"

PEER = "org.freedesktop.DBus.Peer"
PROPERTIES = "org.freedesktop.DBus.Properties"

_EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_STANDARD = """\
<node>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect"><arg name="data" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId"><arg name="machine_uuid" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
</node>
"""
_DOCTYPE = """\
<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
"""


@dataclasses.dataclass(frozen=True)
class Method:
    """A method: the signatures of what it takes and gives."""

    takes: str
    gives: str


@dataclasses.dataclass(frozen=True)
class Property:
    """A property, which can only be read. `emits` is how a change is told: true, invalidates, const or false."""

    type: str
    emits: str


@dataclasses.dataclass(frozen=True)
class Interface:
    """One interface: what it has, by name. `element` is its XML, as it is handed out."""

    name: str
    methods: Mapping[str, Method]
    signals: Mapping[str, str]
    properties: Mapping[str, Property]
    element: ET.Element = dataclasses.field(compare=False, repr=False)


@functools.cache
def promised() -> Mapping[str, Interface]:
    """The interfaces of the XML, by name."""
    return parse(Path(__file__).with_name(f"{NAME}.xml").read_text(encoding="utf-8"))


@functools.cache
def standard() -> Mapping[str, Interface]:
    """The interfaces that every object has, by name."""
    return parse(_STANDARD)


def parse(text: str) -> dict[str, Interface]:
    """The interfaces in introspection data, by name."""
    # The data is our own.
    found = [_interface(element) for element in ET.fromstring(text).iter("interface")]  # noqa: S314
    return {interface.name: interface for interface in found}


def _interface(element: ET.Element) -> Interface:
    for annotation in element.iter("annotation"):
        annotation.set("value", " ".join(annotation.get("value", "").split()))
    return Interface(
        name=element.attrib["name"],
        methods={
            item.attrib["name"]: Method(takes=_signature(item, "in"), gives=_signature(item, "out"))
            for item in element.iter("method")
        },
        signals={item.attrib["name"]: _signature(item, None) for item in element.iter("signal")},
        properties={
            item.attrib["name"]: Property(item.attrib["type"], _emits(item))
            for item in element.iter("property")
        },
        element=element,
    )


def _signature(element: ET.Element, direction: str | None) -> str:
    return "".join(arg.attrib["type"] for arg in element.iter("arg") if arg.get("direction") == direction)


def _emits(element: ET.Element) -> str:
    annotations = {item.attrib["name"]: item.attrib["value"] for item in element.iter("annotation")}
    return annotations.get(_EMITS, "true")


def introspection(interfaces: Sequence[Interface], children: Iterable[str]) -> str:
    """The introspection data of an object that has these interfaces, beside the standard ones, and children."""
    node = ET.Element("node")
    node.extend(interface.element for interface in (*interfaces, *standard().values()))
    for child in sorted(children):
        ET.SubElement(node, "node", name=child)
    return _DOCTYPE + ET.tostring(node, encoding="unicode")
