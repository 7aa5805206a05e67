"""Builds the roots of test hosts and the image for their containers, from nothing, once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from . import cache, disk, recipes
from .commands import run
from .machine import Machine
from .recipes import IMAGE, Recipe

DEBOOTSTRAP_SCRIPT = "/usr/share/debootstrap/scripts/sid"
"""For suites that this machine's debootstrap is too old to know."""
TOOL_FOLDER = "usr/lib/guardian-test"


def image_tar(recipe: Recipe | None = None) -> Path:
    """A container image, `work:1` where none is given, as a tar for `docker import`."""
    recipe = recipe or recipes.image()

    def build(target: Path) -> None:
        target.mkdir()
        root = target / "root"
        _debian(recipe, root)
        cut = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys", "run", "tmp")]
        run(["tar", "-C", str(root), *cut, "-cf", str(target / "work.tar"), "."], timeout=300)
        cache.remove_tree(root)

    return cache.built(recipe.name, recipe.digest, build) / "work.tar"


def container_host(suite: str, boot: Callable[[Path], Machine]) -> Path:
    """The disk of a container host, with the image already imported; for `disk.clone`.

    `boot` makes a machine of a root that writes into that root.
    """
    recipe = recipes.container_host(suite)

    def build(target: Path) -> None:
        tar = image_tar()
        target.mkdir()
        root = target / "root"
        _debian(recipe, root)
        if recipes.lacks_resource_capability():
            _wrap_criu(root)
        _import_image(boot(root), tar)
        _forget_identity(root)
        disk.make(root, target)
        cache.remove_tree(root)

    return cache.built(recipe.name, recipe.digest, build)


def virtual_machine(boot: Callable[[Path], Machine]) -> Path:
    """A folder with `kernel`, `initrd`, `disk.img` and the ssh key `key` for root."""
    recipe = recipes.virtual_machine()

    def build(target: Path) -> None:
        tar = image_tar()
        target.mkdir()
        root = target / "root"
        _debian(recipe, root)
        _authorize_key(root, target / "key")
        _import_image(boot(root), tar)
        _forget_identity(root)
        # Not before: while it is booted as a container it would wait for an address.
        run(["systemctl", f"--root={root}", "--quiet", "enable", "systemd-networkd", "ssh"], timeout=60)
        for name, pattern in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
            next((root / "boot").glob(pattern)).rename(target / name)
        disk.make_whole(root, target / "disk.img")
        cache.remove_tree(root)

    return cache.built(recipe.name, recipe.digest, build)


def _authorize_key(root: Path, key: Path) -> None:
    """Make an ssh key with which root may enter."""
    cache.require_commands({"ssh-keygen": "openssh-client"})
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guardian-test", "-f", str(key)], timeout=30)
    _write(root, "root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), 0o600)
    (root / "root/.ssh").chmod(0o700)


def _debian(recipe: Recipe, root: Path) -> None:
    """Make a Debian root after a recipe."""
    cache.require_commands({"debootstrap": "debootstrap"})
    mirror = cache.mirror()
    variant = [f"--variant={recipe.variant}"] if recipe.variant else []
    include = "--include=" + ",".join(recipe.packages)
    with cache.lock("debs"):
        run(
            [
                # In a mount namespace of its own nothing stays mounted, whatever happens.
                *(
                    "unshare",
                    "--mount",
                    "debootstrap",
                    *variant,
                    include,
                    f"--cache-dir={cache.folder('debs')}",
                ),
                *(recipe.suite, str(root), mirror, DEBOOTSTRAP_SCRIPT),
            ],
            timeout=1800,
            env=cache.apt_environment(),
        )
    # A stored index may be past its date; signatures stay checked.
    _write(root, "etc/apt/apt.conf.d/50guardian-test", 'Acquire::Check-Valid-Until "false";\n')
    for path, text in recipe.files.items():
        _write(root, path, text)
    if recipe.newer:
        _install_newer(root, recipe.newer, mirror)
    for verb, units in (("enable", recipe.enable), ("mask", recipe.mask)):
        if units:
            run(["systemctl", f"--root={root}", "--quiet", verb, *units], timeout=60)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    _remove(root, recipe.removed)
    for folder, kept in recipe.only.items():
        _remove(
            root,
            tuple(f"{folder}/{path.name}" for path in (root / folder).iterdir() if path.name not in kept),
        )


def _write(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(mode)


def _remove(root: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _chroot(root: Path, *argv: str, timeout: float = 900) -> None:
    run(["unshare", "--mount", "chroot", str(root), *argv], timeout=timeout, env=cache.apt_environment())


def _install_newer(root: Path, packages: tuple[str, ...], mirror: str) -> None:
    """Take a few packages from forky, and nothing else from there."""
    _write(root, "etc/apt/sources.list.d/forky.list", f"deb {mirror} forky main\n")
    _write(root, "etc/apt/preferences.d/forky", "Package: *\nPin: release n=forky\nPin-Priority: 100\n")
    _chroot(root, "apt-get", "update")
    _chroot(
        root,
        "apt-get",
        "install",
        "--yes",
        "--no-install-recommends",
        *(f"{name}/forky" for name in packages),
    )
    _remove(root, ("etc/apt/sources.list.d/forky.list", "etc/apt/preferences.d/forky"))


def _wrap_criu(root: Path) -> None:
    """Put the wrapper that preloads `rlimit_shim.c` in place of criu."""
    cache.require_commands({"gcc": "gcc libc6-dev"})
    folder = root / TOOL_FOLDER
    folder.mkdir(parents=True)
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-O2", "-shared", "-fPIC"]
    run(
        ["gcc", *flags, "-o", str(folder / "rlimit_shim.so"), str(recipes.shim_source()), "-ldl"],
        timeout=60,
    )
    _chroot(
        root,
        *("dpkg-divert", "--quiet", "--local", "--rename", "--divert", f"/{TOOL_FOLDER}/criu"),
        *("--add", "/usr/sbin/criu"),
    )
    _write(root, "usr/sbin/criu", recipes.CRIU_WRAPPER, 0o755)


def _import_image(machine: Machine, tar: Path) -> None:
    """Boot once and give docker the image."""
    with machine as host:
        host.copy_to(tar, "/root/work.tar")
        host.succeed(f"docker import /root/work.tar {IMAGE} && rm /root/work.tar", timeout=300)
        host.poweroff()


def _forget_identity(root: Path) -> None:
    """Remove what two clones must not share."""
    _write(root, "etc/machine-id", "")
    _remove(root, ("var/log/journal/*", "var/lib/docker/engine-id", "var/lib/systemd/random-seed"))
