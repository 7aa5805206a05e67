"""The store of this host, for commands that read it themselves."""

from __future__ import annotations

from pathlib import Path

from guardian.faces.configuration import load_config
from guardian.host.ledger import Ledger


def ledger() -> Ledger:
    """Its ledger; raises BadInput where the configuration does not parse. To read it raises StoreError but for root."""
    config = load_config()
    return Ledger(Path(config.store_path), encrypted=config.encrypt)
