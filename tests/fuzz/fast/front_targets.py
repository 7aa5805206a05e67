"""The front and the hold script (runtime/front.sh), as a process for each input: some hundred a second."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

from tests.fuzz.fast.target import Target, scratch
from tests.unit.samples import id_of

_FRONT = Path(__file__).resolve().parents[3] / "guardian" / "runtime" / "front.sh"
_ID = id_of("web")
_REFUSED, _SPLIT = 1, b"\1"


@functools.cache
def _prepared() -> Path:
    """The front over a folder of its own, with a runc that says how it was called."""
    folder = scratch() / "front"
    for name in ("bin", "holds", "tickets", "frozen"):
        (folder / name).mkdir(parents=True)
    runc = folder / "bin" / "runc"
    runc.write_text('#!/bin/sh\nprintf \'%s\\n\' "$#" "$@"\n')
    runc.chmod(0o755)
    text = _FRONT.read_text()
    text = text.replace("run=/run/guardian\n", f"run={folder}\n").replace(
        "in /usr/local/sbin ", f"in {folder}/bin "
    )
    (folder / "front.sh").write_text(text)
    return folder


def _front(data: bytes) -> str:
    """Words, split at NULs; behind a byte 1 the hold of the container, behind another one something frozen."""
    folder = _prepared()
    words, _, rest = data.partition(_SPLIT)
    hold, frozen, _ = rest.partition(_SPLIT)
    given = [word for word in words.split(b"\0") if b"/" not in word or word.startswith(b"/x/")][:20]
    log = folder / "log.json"
    files = {folder / "holds" / _ID: hold, folder / "frozen" / _ID: frozen and b"x"}
    for path, content in files.items():
        if content:
            path.write_bytes(content)
    try:
        ended = subprocess.run(
            ["sh", folder / "front.sh", b"--log", os.fsencode(log), *given],
            capture_output=True,
            timeout=10,
            check=False,
        )
        said = log.read_bytes() if log.exists() else b""
    finally:
        for path in (*files, log):
            path.unlink(missing_ok=True)
    if ended.returncode == _REFUSED and said:
        found = json.loads(said.decode(errors="replace"), strict=True)
        assert found["level"] == "error"
        assert found["msg"].startswith("guardian") or hold, found
        return "refused"
    passed = b"".join(word + b"\n" for word in (b"--log", os.fsencode(log), *given))
    forced = passed.replace(b"\ndelete\n", b"\ndelete\n--force\n", 1)
    out = ended.stdout.partition(b"\n")[2]
    assert ended.returncode == 0, ended
    assert out in (passed, forced), (out, passed)
    return "passed" if out == passed else "forced"


_START = b"--root\0/x/moby\0"
TARGETS = (
    Target(
        "front",
        _front,
        tuple(
            _START + word + b"\0" + _ID.encode() + rest
            for word in (b"create", b"start", b"exec", b"kill", b"delete")
            for rest in (
                b"\1message=a\tb\n",
                b"",
                b"\1format=1\nmessage=guardian: held\ncheckpoint=/x\n",
                b"\1\1x",
            )
        ),
        (
            b"\0create",
            b"\0delete",
            b"\0--log\0/x/y",
            b"message=",
            b'"',
            b"\\",
            b"\t",
            b"\x02",
            _ID.encode(),
            b"*",
            b"$(x)",
        ),
        longest=600,
        share=0.005,
    ),
)
