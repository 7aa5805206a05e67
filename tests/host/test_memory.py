"""What lies in the memory of a planted program is found, by its address, and secrets stay hidden unless asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.host.site import Site
from tests.host.test_inspect import plant

NEEDLE = "needle-in-the-haystack"


@pytest.fixture
def planted(site: Site) -> Site:
    plant(site)
    site.machine.succeed("guardianctl snapshot planted")
    return site


def found(site: Site, arguments: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in site.machine.succeed(f"guardianctl memory {arguments} --json").splitlines()
    ]


def test_search_finds_what_was_planted(planted: Site) -> None:
    hits = found(planted, f"search planted@1 {NEEDLE}")
    assert any(hit["address"] % 4096 == 4096 - 8 and hit["kind"] == "anonymous" for hit in hits)
    assert {hit["pid"] for hit in hits} == {1}
    by_bytes = found(planted, f"search planted@1 --hex {NEEDLE.encode().hex()}")
    assert [hit["address"] for hit in by_bytes] == [hit["address"] for hit in hits]
    by_expression = found(planted, "search planted@1 --regex 'needle-in-the-[a-z]{8}'")
    assert [hit["address"] for hit in by_expression] == [hit["address"] for hit in hits]
    assert found(planted, "search planted@1 --utf16 'wide text'")
    (shared,) = [hit for hit in found(planted, "search planted@1 'shared secret'") if hit["kind"] == "memfd"]
    assert "zero" in shared["mapping"]
    assert planted.machine.execute("guardianctl memory search planted@1 no-such-text-anywhere")[0] == 1


def test_what_is_found_is_there_in_the_running_program(planted: Site) -> None:
    hit = next(hit for hit in found(planted, f"search planted@1 {NEEDLE}") if hit["address"] % 4096 == 4088)
    pid = planted.inspect("planted", "{{.State.Pid}}")
    there = planted.machine.succeed(f"dd if=/proc/{pid}/mem bs=1 skip={hit['address']} count=22 2>/dev/null")
    assert there == NEEDLE
    read = planted.machine.succeed(f"guardianctl memory read planted@1 --pid 1 {hit['address']:#x}+22 --raw")
    assert read == NEEDLE


def test_secrets_stay_hidden_and_terminals_whole(planted: Site) -> None:
    told = planted.machine.succeed("guardianctl memory search planted@1 DB_PASSWORD")
    assert "hunter2" not in told
    revealed = planted.machine.succeed("guardianctl memory search planted@1 DB_PASSWORD --reveal")
    assert "DB_PASSWORD]=hunter2" in revealed
    assert not any(ord(character) < 32 and character not in "\t\n" for character in told + revealed)
    assert "memory --reveal" in planted.machine.succeed("journalctl -t guardianctl --no-pager")


def test_strings_and_map(planted: Site) -> None:
    strings = planted.machine.succeed("guardianctl memory strings planted@1 --pid 1 | cut -f 3")
    assert NEEDLE in strings.split("\n")
    spans = {(item["start"], item["end"]) for item in found(planted, "map planted@1 --pid 1")}
    inspected = json.loads(planted.machine.succeed("guardianctl inspect planted@1 --json"))
    assert spans == {(item["start"], item["end"]) for item in inspected["processes"][0]["memory"]}
