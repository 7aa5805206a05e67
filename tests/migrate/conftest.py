"""What the host suite has, here too."""

from tests.host.conftest import package, pytest_runtest_makereport

__all__ = ["package", "pytest_runtest_makereport"]
