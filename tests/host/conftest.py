"""Hosts with the package installed, as an administrator would have them.

HOST in the environment names the Debian suite, and so the engine; STORE=containerd takes its image store.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.lab import Lab, opened
from tests.host.site import Site
from tests.machines import ContainerHost
from tests.machines.recipes import known_suites

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package, built from this checkout."""
    folder = tmp_path_factory.mktemp("deb")
    subprocess.run([_REPOSITORY / "packaging" / "build.sh", folder], check=True, timeout=300)
    return next(folder.glob("*.deb"))


@pytest.fixture(scope="module")
def shared_site(package: Path) -> Iterator[Site]:
    """One host for all tests of a module."""
    with ContainerHost(os.environ.get("HOST") or known_suites()[0]) as host:
        site = Site(host)
        if os.environ.get("STORE") == "containerd":
            site.use_containerds_image_store()
        site.install(package)
        yield site


@pytest.fixture
def site(shared_site: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """The module's host, without containers, holds or checkpoints; its journal is shown when the test fails."""
    shared_site.clean()
    yield shared_site
    report = getattr(request.node, "report_of_call", None)
    if report is not None and report.failed:
        print(shared_site.told())


@pytest.fixture(scope="module")
def shared_lab(package: Path) -> Iterator[Lab]:
    """Two hosts; HOST names the first one's suite, the second is the default."""
    default = known_suites()[0]
    with opened(package, (os.environ.get("HOST") or default, default)) as found:
        yield found


@pytest.fixture
def lab(shared_lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The hosts, without containers; their journals are shown when the test fails."""
    shared_lab.clean()
    yield shared_lab
    report = getattr(request.node, "report_of_call", None)
    if report is not None and report.failed:
        print(shared_lab.told())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Lets fixtures see whether the test failed."""
    report = yield
    if report.when == "call":  # type: ignore[attr-defined]
        item.report_of_call = report  # type: ignore[attr-defined]
    return report
