"""The package is built as for the host suite."""

from tests.host.conftest import package

__all__ = ["package"]
