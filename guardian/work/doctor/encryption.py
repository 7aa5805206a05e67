"""The key of encrypted images."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import encryption
from guardian.model.errors import StoreError
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host


def look(host: Host) -> Iterator[Finding]:
    """Whether the key is there, where images are to be encrypted or are."""
    store = host.ledger.store
    if not host.config.encrypt and not encryption.is_set_up(store):
        return
    try:
        encryption.unlock(store, encryption.key())
    except StoreError as error:
        lost = "nothing can be saved" if host.config.encrypt else "older images cannot be read"
        yield Finding("encryption", Severity.ERROR, f"{error.what}: {error.why}", lost, "docs/encryption.md")
