"""Make anew what is generated from the code: `python docs/generate.py` (or `make format`).

A unit test (tests/unit/test_generated.py) fails while any of it is out of date.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(TOP))

from guardian.model.config import SECTIONS, SETTINGS, Setting  # noqa: E402
from guardian.model.labels import LABELS  # noqa: E402
from guardian.model.states import dot  # noqa: E402
from tests.comparison import fields  # noqa: E402

_LABELS_HEAD = """\
<!-- Made from guardian/model/labels.py by docs/generate.py: do not edit. -->

# Labels

A container says by labels that it is guarded, and what it waits for:

    docker run --label guardian.enable=true --label guardian.depends-on=db:healthy,cache ...

| label | value | default | meaning |
| --- | --- | --- | --- |
"""

_LABELS_TAIL = """
A label that equals the one in the container's image is ignored unless `trust-image-labels = true` stands
in `/etc/guardian/guardian.toml`: an image must not enable guardian for itself. A label `guardian.*` that is not
in the table is ignored. Both are said among the container's problems.

## What a dependency comes to

| the dependency | then |
| --- | --- |
| is guarded | the restore waits until it is resumed or, where that is asked for, healthy |
| is to be healthy, is guarded, has no health check | the restore waits until it is resumed; said |
| is part of a cycle | its members do not wait for each other, are restored in name order; said for each |
| is unknown | ignored; said |
| is not guarded | the restore does not wait for it; said |
| is the container itself | ignored; said |
| is to be completed (`service_completed_successfully`) | counts as satisfied |

Sharing another container's namespace (`--network container:NAME` and the like) is a dependency on it. None of
this stops another container.

## Groups

Containers that hang together over dependencies, shared namespaces, or a volume or bind source that one of them
may write to, are a group: frozen together (dependents first), so that what was saved fits together. Sockets
(`*.sock`) and paths below `/dev`, `/proc` and `/sys` make no group.
"""

_SETTINGS_HEAD = """\
# guardian.toml: guardian's settings. Made from guardian/model/config.py; every line shows the default.
# An unknown key or a value that is not allowed is an error that names file and key.
"""


def labels_page() -> str:
    """docs/labels.md."""
    rows = "".join(_row(f"`{label.name}`", label.values, label.default, label.meaning) for label in LABELS)
    return _LABELS_HEAD + rows + _LABELS_TAIL


def _row(*cells: str) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"


def settings_file() -> str:
    """etc/guardian.toml."""
    return _SETTINGS_HEAD + "".join(_section(section) for section in SECTIONS)


def _section(section: str) -> str:
    lines = ["", *_comment(SECTIONS[section]), f"[{section}]"]
    for setting in SETTINGS:
        if setting.section == section:
            lines += ["", *_comment(setting.meaning), *_comment(f"Allowed: {setting.kind.allowed}.")]
            lines.append(_assignment(setting))
    return "\n".join(lines) + "\n"


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, 100))


def _assignment(setting: Setting) -> str:
    value = setting.default
    shown = json.dumps(list(value) if isinstance(value, tuple) else value)
    return f"#{setting.key} = {shown}"


def everything() -> dict[Path, str]:
    """Every generated file and what should stand in it."""
    return {
        TOP / "docs" / "labels.md": labels_page(),
        TOP / "docs" / "states.dot": dot(),
        TOP / "docs" / "comparison.md": fields.page(),
        TOP / "etc" / "guardian.toml": settings_file(),
    }


def main() -> None:
    """Write what is out of date."""
    for path, text in everything().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    main()
