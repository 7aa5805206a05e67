"""Images at rest: encrypted where that is asked for, and nothing readable left of those that are deleted.

What is on the disk is read from outside, from the file that is the host's disk.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.site import Site
from tests.machines.nspawn import ContainerHost

STORE = "/var/lib/guardian/checkpoints"
KEY = "/etc/credstore.encrypted/guardian.store-key"
MAKE_KEY = (
    f"mkdir -p -m 700 {Path(KEY).parent}; systemd-creds setup; head -c 64 /dev/urandom"
    f" | systemd-creds encrypt --with-key=host --name=guardian.store-key - {KEY}"
)


def _disk(site: Site) -> Path:
    assert isinstance(site.machine, ContainerHost)
    return site.machine.folder / "host.img"


def _on_disk(site: Site, text: str) -> bool:
    site.machine.succeed("sync")
    return subprocess.run(["grep", "-qaF", text, _disk(site)], check=False).returncode == 0


@pytest.fixture
def secret() -> str:
    return f"secret-{secrets.token_hex(16)}"


@pytest.fixture
def encrypted(site: Site) -> Iterator[Site]:
    """A host whose disk can encrypt, and that has a key."""
    site.machine.poweroff()
    subprocess.run(["tune2fs", "-O", "encrypt", _disk(site)], check=True, stdout=subprocess.DEVNULL)
    site.machine.start()
    site.wait_restored()
    site.machine.succeed(MAKE_KEY)
    site.set_up_guardian("[store]\nencrypt = true\n[retention]\nerase = false\n")
    yield site
    site.machine.succeed(f"rm -f {KEY} {STORE}/.encryption")


def test_images_are_encrypted_and_come_back_after_a_reboot(encrypted: Site, secret: str) -> None:
    before = encrypted.redis("web", "--restart always", value=secret)
    encrypted.reboot()
    assert encrypted.outcome("web") == "resumed"
    assert encrypted.seen_in("web") == before
    encrypted.machine.succeed("guardianctl snapshot web; guardianctl checkpoint web")
    assert not _on_disk(encrypted, secret)
    assert secret in encrypted.machine.succeed(f"guardianctl memory search --reveal web {secret}")


def test_without_encryption_they_would_be_readable(site: Site, secret: str) -> None:
    """The check above can fail."""
    site.redis("web", value=secret)
    site.machine.succeed("guardianctl checkpoint web")
    assert _on_disk(site, secret)


def test_a_lost_key_costs_the_memory_and_not_the_image(encrypted: Site, secret: str) -> None:
    before = encrypted.redis("web", "--restart always", value=secret)
    encrypted.machine.succeed(f"guardianctl checkpoint web; mv {KEY} /root/key")
    encrypted.reboot()
    assert encrypted.outcome("web") == "cold"
    assert encrypted.reason("web") == "its images are encrypted and the store's key is not there"
    assert encrypted.seen_in("web") != before
    assert "the store's key is not there" in encrypted.machine.execute("guardianctl checkpoint web 2>&1")[1]
    assert "encryption" in encrypted.machine.execute("guardianctl doctor 2>&1")[1]
    encrypted.machine.succeed(f"mv /root/key {KEY}; systemctl restart guardian-worker")
    encrypted.machine.wait_until_succeeds("guardianctl list")
    found = encrypted.machine.succeed(f"guardianctl memory search --reveal web@1 {secret}")
    assert secret in found, "the image was kept, and can be read again"


def test_what_cannot_be_encrypted_is_not_saved(site: Site) -> None:
    site.set_up_guardian("[store]\nencrypt = true\n")
    before = site.redis("web", "--restart always")
    said = site.machine.execute("guardianctl checkpoint web 2>&1")[1]
    assert "the store is to be encrypted and has no key" in said
    assert site.seen_in("web") == before
    site.restart_docker()
    assert site.outcome("web") == "cold"
    assert "has no key" in site.reason("web")


@pytest.mark.parametrize("erase", [True, False])
def test_nothing_readable_is_left_of_a_deleted_image(site: Site, secret: str, erase: bool) -> None:
    """With `erase = false` it is: the look at the disk finds it."""
    site.set_up_guardian(f"[retention]\nerase = {str(erase).lower()}\n")
    before = site.redis("web", "--restart always", value=secret)
    site.machine.succeed("guardianctl snapshot web")
    assert _on_disk(site, secret)
    site.machine.succeed("guardianctl remove web@1")
    site.restart_docker()
    assert site.seen_in("web") == before
    site.machine.wait_until_succeeds(f"! test -e {STORE}/.erased && ! ls {STORE}/*/*/img")
    assert _on_disk(site, secret) is not erase
