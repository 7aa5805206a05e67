"""Containers of an empty image, made to hold addresses and removed again."""

from __future__ import annotations

import contextlib
import secrets

import docker
import docker.errors
import docker.types
import requests.exceptions

from guardian.model.errors import EngineUnavailable, GuardianError
from guardian.model.labels import PLACEHOLDER

_NAME = "guardian-placeholder"
_IMAGE = f"{_NAME}:1"
_LIMIT = 60
_EMPTY_ARCHIVE = bytes(1024)
_FAILURES = (docker.errors.DockerException, requests.exceptions.RequestException)


class Placeholders:
    """The image and the containers made of it."""

    def __init__(self) -> None:
        try:
            self._api = docker.APIClient(base_url="unix:///run/docker.sock", timeout=_LIMIT)
            self._api.import_image_from_data(_EMPTY_ARCHIVE, repository=_NAME, tag="1")
        except _FAILURES as error:
            raise EngineUnavailable("dockerd does not answer", str(error)) from error

    def make(self, network: str) -> str:
        """A container on a network, not started; returns its id."""
        try:
            made = self._api.create_container(
                _IMAGE,
                command=[_NAME],
                name=f"{_NAME}-{secrets.token_hex(4)}",
                labels={PLACEHOLDER: "true"},
                host_config=self._api.create_host_config(
                    network_mode=network, log_config=docker.types.LogConfig(type="none")
                ),
            )
        except _FAILURES as error:
            raise GuardianError("a placeholder cannot be made", str(error)) from error
        return str(made["Id"])

    def remove(self) -> None:
        """Remove all placeholders, those of an earlier run too, and their image."""
        with contextlib.suppress(*_FAILURES):
            # Anybody may write a label: what is removed has our image and name, too.
            for item in self._api.containers(all=True, filters={"label": PLACEHOLDER, "ancestor": _IMAGE}):
                if any(name.startswith(f"/{_NAME}-") for name in item["Names"]):
                    self._api.remove_container(item["Id"], force=True, v=True)
            self._api.remove_image(_IMAGE)
        self._api.close()
