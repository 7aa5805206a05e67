"""dockerd, through the docker library: facts, starts, stops, events. Every call has a time limit."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import docker
import docker.errors
import requests.exceptions

from guardian.host import dead_task, docker_networks
from guardian.model.container import Attachment, Container, Healthcheck, Mount, RestartPolicy
from guardian.model.errors import EngineUnavailable, GuardianError, UnknownContainer

_Client = TypeVar("_Client")
_NANOSECONDS = 1e9
_DEFAULT_HEALTH_TIMEOUT = 30.0
_DEFAULT_STOP_TIMEOUT = 10.0
_NO_CONTAINERD = ("containerd.sock: connect:", "Unavailable: connection error:")
"""In dockerd's refusal of a start while containerd is not there."""
_CONTAINERD_ENDED = "Unavailable: error reading from server:"
_CONTAINERD_LIMIT = 30.0
_LOOK_AGAIN = 0.5


log = logging.getLogger("guardian.docker")


def seconds(text: str) -> float:
    """Docker's time (RFC 3339, nanoseconds) as wall-clock seconds; 0 where it is none."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


class StartRefused(GuardianError):
    """dockerd did not start the container; `why` is its own message."""


class Events:
    """dockerd's events, of containers and of itself, until it goes away or `close` is called from another thread."""

    def __init__(self) -> None:
        self._api = docker.APIClient(base_url="unix:///run/docker.sock", timeout=None)  # type: ignore[arg-type]
        self._stream = self._api.events(decode=True, filters={"type": ["container", "daemon"]})

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            for event in self._stream:
                yield dict(event)
        except (docker.errors.DockerException, requests.exceptions.RequestException, ValueError, OSError):
            return

    def close(self) -> None:
        """End the iteration and give the connection back; may be repeated."""
        with contextlib.suppress(docker.errors.DockerException, OSError, AttributeError, ValueError):
            self._stream.close()
        self._api.close()


def _connect(kind: Callable[..., _Client], limit: int) -> _Client:
    """A client of dockerd's; making one already asks dockerd something. Raises EngineUnavailable."""
    try:
        return kind(base_url="unix:///run/docker.sock", timeout=limit)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineUnavailable("dockerd does not answer", str(error)) from error


class Engine:
    """One connection to dockerd; use one for each thread."""

    def __init__(self, *, limit: float = 30.0) -> None:
        self._limit = limit
        self._client = _connect(docker.DockerClient, int(limit))
        self._networks: dict[str, dict[str, Any]] = {}
        self._userns: bool | None = None

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def answers(self) -> bool:
        """Whether dockerd is up."""
        try:
            return bool(self._client.ping())
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return False

    def containers(self, known: Mapping[str, Container] | None = None) -> list[Container]:
        """All containers, running or not; raises EngineUnavailable.

        Those in `known` are not asked for: dockerd answers an inspect only after a start under way has ended. One that
        dockerd cannot show, or shows in a way that is not understood, is left out: it must not cost the others theirs.
        """
        known = known or {}
        found = []
        for item in self._call(lambda: self._client.api.containers(all=True)):
            if item["Id"] in known:
                found.append(known[item["Id"]])
                continue
            try:
                found.append(self.container(item["Id"]))
            except UnknownContainer:
                continue  # removed since the list was made
            except (GuardianError, ValueError, KeyError, TypeError) as error:
                log.warning("container %s is left out: %s", item["Id"][:12], error)
        return found

    def container(self, name_or_id: str) -> Container:
        """One container's facts; raises UnknownContainer or EngineUnavailable."""
        data = self._call(lambda: self._client.api.inspect_container(name_or_id), name_or_id)
        return facts(
            data, self._image_labels(data["Image"]), self._networks_of(data), remapping=self._remapping()
        )

    def inspection(self, name_or_id: str) -> dict[str, Any]:
        """A container as `docker inspect` shows it; raises UnknownContainer."""
        return dict(self._call(lambda: self._client.api.inspect_container(name_or_id), name_or_id))

    def image(self, name_or_id: str) -> dict[str, Any]:
        """An image as `docker image inspect` shows it; raises UnknownContainer where there is none."""
        return dict(self._call(lambda: self._client.api.inspect_image(name_or_id), name_or_id))

    def saved_image(self, name_or_id: str) -> Iterator[bytes]:
        """`docker save`, in pieces."""
        return iter(self._call(lambda: self._client.api.get_image(name_or_id), name_or_id))

    def volume(self, name: str) -> dict[str, Any]:
        """A volume as `docker volume inspect` shows it, empty where there is none."""
        try:
            return dict(self._call(lambda: self._client.api.inspect_volume(name), name))
        except UnknownContainer:
            return {}

    def described(self) -> dict[str, Any]:
        """`docker info`."""
        return dict(self._call(self._client.api.info))

    def start(self, container_id: str, *, limit: float, ahead: Callable[[], None] = lambda: None) -> None:
        """Start a container, for at most `limit` seconds; "already started" is success. Raises StartRefused.

        While containerd is being restarted dockerd refuses every start: that is waited for. What a killed dockerd has
        left with containerd, and would refuse every start for, is deleted. `ahead` is called before each request.
        """
        self._start_again(container_id, _NO_CONTAINERD, ahead, limit=limit)

    def start_anew(self, container_id: str, *, limit: float) -> None:
        """The same, asked again also where containerd ended over it: nothing is lost by a start that was half done."""
        self._start_again(container_id, (*_NO_CONTAINERD, _CONTAINERD_ENDED), lambda: None, limit=limit)

    def _start_again(
        self, container_id: str, passing: tuple[str, ...], ahead: Callable[[], None], *, limit: float
    ) -> None:
        end = time.monotonic() + min(limit, _CONTAINERD_LIMIT)
        never = threading.Event()
        while True:
            ahead()
            try:
                self._start(container_id, limit=limit)
            except StartRefused as error:
                left = dead_task.is_in_the_way(container_id, error.why)
                away = any(text in error.why for text in passing)
                if (not away and not left) or time.monotonic() > end:
                    raise
                if left:
                    dead_task.remove(container_id)
                never.wait(_LOOK_AGAIN)  # nobody says when containerd is there again, or has forgotten
            else:
                return

    def _start(self, container_id: str, *, limit: float) -> None:
        api = _connect(docker.APIClient, int(limit))
        try:
            api.start(container_id)
        except docker.errors.APIError as error:
            # A network that is gone is answered with 404 as well.
            if error.status_code == 404 and "No such container" in str(error.explanation):
                raise UnknownContainer(f"container {container_id[:12]} is gone") from error
            raise StartRefused("dockerd did not start it", str(error.explanation)) from error
        except requests.exceptions.Timeout as error:
            raise StartRefused("dockerd did not start it", f"not within {limit:g} s") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise EngineUnavailable("dockerd does not answer", str(error)) from error
        finally:
            api.close()

    def wait_until_down(self, container_id: str, *, limit: float) -> None:
        """Wait until dockerd has noticed that a container ended; raises StartRefused at the limit."""
        api = _connect(docker.APIClient, int(limit))
        try:
            api.wait(container_id, timeout=int(limit), condition="not-running")
        except docker.errors.NotFound:
            return
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise StartRefused("dockerd still says that it runs", str(error)) from error
        finally:
            api.close()

    def kill(self, container_id: str) -> None:
        """SIGKILL; of a container that is dead it makes dockerd look, within its stop timeout, and see that."""
        self._call(lambda: self._client.api.kill(container_id), container_id)

    def pause(self, container_id: str) -> None:
        """Pause a running container."""
        self._call(lambda: self._client.api.pause(container_id), container_id)

    def healthy(self, container: Container) -> bool:
        """Ask the container's own health check once, now."""
        if not container.healthcheck.argv:
            return True
        made = self._call(
            lambda: self._client.api.exec_create(container.id, list(container.healthcheck.argv))
        )
        self._call(lambda: self._client.api.exec_start(made["Id"]))
        return bool(self._call(lambda: self._client.api.exec_inspect(made["Id"]))["ExitCode"] == 0)

    def live_restore(self) -> bool:
        """Whether containers outlive dockerd by its own configuration."""
        return bool(self._call(self._client.api.info).get("LiveRestoreEnabled"))

    def root(self) -> str:
        """The folder that dockerd keeps its things in."""
        return str(self._call(self._client.api.info).get("DockerRootDir", ""))

    def events(self) -> Events:
        """Container events from now on. dockerd listens when this returns: what is asked afterwards misses nothing."""
        return self._call(Events)  # type: ignore[no-any-return]

    def _remapping(self) -> bool:
        """Whether dockerd remaps users by default; asked once."""
        if self._userns is None:
            self._userns = "name=userns" in (self._call(self._client.api.info).get("SecurityOptions") or [])
        return self._userns

    def networks(self) -> dict[str, dict[str, Any]]:
        """All networks as the API describes them, by id."""
        return {str(item["Id"]): dict(item) for item in self._call(self._client.api.networks)}

    def network(self, name_or_id: str) -> dict[str, Any]:
        """One network as the API describes it, with the containers that are on it."""
        return dict(self._call(lambda: self._client.api.inspect_network(name_or_id), name_or_id))

    def make_network_anew(self, container_id: str, item: Attachment) -> None:
        """Make a network of a stopped container as it was; raises GuardianError with dockerd's reason."""
        there = {str(network["Name"]) for network in self.networks().values()}
        self._call(
            lambda: docker_networks.make_anew(self._client.api, container_id, item, there), container_id
        )

    def _networks_of(self, data: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """At least the networks of a container; they are asked for once."""
        wanted = {str(item.get("NetworkID") or "") for item in _attached(data).values()} - {""}
        if not wanted <= self._networks.keys():
            self._networks = self.networks()
        return self._networks

    def _image_labels(self, image_id: str) -> dict[str, str]:
        try:
            image = self._call(lambda: self._client.api.inspect_image(image_id), image_id)
        except UnknownContainer:
            return {}  # the image was removed under a stopped container
        return {
            str(key): str(value) for key, value in ((image.get("Config") or {}).get("Labels") or {}).items()
        }

    def _call(self, function: Any, subject: str = "") -> Any:
        try:
            return function()
        except docker.errors.NotFound as error:
            raise UnknownContainer(
                f"there is no container {subject}", hint="docker ps -a lists them"
            ) from error
        except docker.errors.APIError as error:
            raise GuardianError("dockerd refused", str(error.explanation)) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise EngineUnavailable("dockerd does not answer", str(error)) from error


def facts(
    data: dict[str, Any],
    image_labels: dict[str, str],
    networks: Mapping[str, Mapping[str, Any]],
    *,
    remapping: bool,
) -> Container:
    """A container as `docker inspect` shows it (Docker Engine API, ContainerInspect).

    `networks` has at least its own, by id (NetworkList); `remapping`: dockerd has userns-remap.
    """
    config, host, state = data["Config"], data["HostConfig"], data["State"]
    policy = (host.get("RestartPolicy") or {}).get("Name") or "no"
    timeout = config.get("StopTimeout")
    return Container(
        id=data["Id"],
        name=data["Name"].lstrip("/"),
        image_id=data["Image"],
        config_hash=_config_hash(data),
        labels={str(key): str(value) for key, value in (config.get("Labels") or {}).items()},
        image_labels=image_labels,
        running=bool(state["Running"]),
        paused=bool(state.get("Paused")),
        pid=int(state["Pid"]),
        started_at=str(state["StartedAt"]),
        restart_policy=RestartPolicy(policy),
        auto_remove=bool(host.get("AutoRemove")),
        terminal=bool(config.get("Tty")),
        stop_signal=str(config.get("StopSignal") or "SIGTERM"),
        stop_timeout=_DEFAULT_STOP_TIMEOUT if timeout is None else float(timeout),
        runtime=str(host.get("Runtime") or ""),
        network_mode=str(host.get("NetworkMode") or ""),
        ipc_mode=str(host.get("IpcMode") or ""),
        pid_mode=str(host.get("PidMode") or ""),
        networks=tuple(
            docker_networks.attachment(name, item, networks.get(str(item.get("NetworkID") or ""), {}))
            for name, item in sorted(_attached(data).items())
        ),
        mounts=tuple(_mount(item) for item in data.get("Mounts") or []),
        healthcheck=_healthcheck(config.get("Healthcheck") or {}),
        error=str(state.get("Error") or ""),
        links=_others(host.get("Links")),
        volumes_from=_others(host.get("VolumesFrom")),
        remapped=remapping and host.get("UsernsMode") != "host",
        layer=str(((data.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir") or ""),
    )


def _attached(data: dict[str, Any]) -> dict[str, Any]:
    return (data.get("NetworkSettings") or {}).get("Networks") or {}


def _others(items: Any) -> tuple[str, ...]:
    """The containers in what Docker writes as `/db:/app/alias` (Links) or `data:ro` (VolumesFrom)."""
    return tuple(str(item).split(":")[0].lstrip("/") for item in items or [])


def _mount(item: dict[str, Any]) -> Mount:
    return Mount(
        kind=str(item.get("Type") or "bind"),
        source=str(item.get("Source") or ""),
        destination=str(item.get("Destination") or ""),
        writable=bool(item.get("RW")),
        volume=str(item.get("Name") or ""),
    )


def _healthcheck(data: dict[str, Any]) -> Healthcheck:
    test = [str(word) for word in data.get("Test") or []]
    timeout = float(data.get("Timeout") or 0) / _NANOSECONDS or _DEFAULT_HEALTH_TIMEOUT
    if test[:1] == ["CMD"]:
        return Healthcheck(tuple(test[1:]), timeout)
    if test[:1] == ["CMD-SHELL"]:
        return Healthcheck(("/bin/sh", "-c", *test[1:]), timeout)
    return Healthcheck((), timeout)


def _config_hash(data: dict[str, Any]) -> str:
    """What decides how the container is built; `docker update` and a renamed network do not change it."""
    parts = {
        "image": data["Image"],
        "path": data.get("Path"),
        "args": data.get("Args"),
        "config": data["Config"],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
