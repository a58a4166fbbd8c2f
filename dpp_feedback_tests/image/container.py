"""Runs the image's commands as Kubernetes would: not root, on a root file system that is read-only.

docker and podman have all that as flags. buildah has not, so its image is mounted and entered: for
that this process must be root, as it must be to build with `--isolation chroot`.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Takes the image's root, the folder for DAGSTER_HOME, user:group, working folder, and the command.
_ENTER = """
set -e
root=$1 home=$2 user=$3 folder=$4; shift 4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind -o ro "$home" "$root/opt/dagster/home"
exec chroot --userspec="$user" "$root" /usr/bin/env -i -C "$folder" "$@"
"""


@dataclass(frozen=True)
class Image:
    """An image that a builder has: `builder` is docker, podman or buildah.

    Attributes:
        home: a folder with dagster.yaml and workspace.yaml, for /opt/dagster/home.
    """

    builder: str
    name: str
    home: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The OCI config: Cmd, Env, Labels, User, WorkingDir."""
        if self.builder == "buildah":
            told = _told("buildah", "inspect", "--type", "image", self.name)
            return dict(json.loads(told)["OCIv1"]["config"])
        return dict(json.loads(_told(self.builder, "image", "inspect", self.name))[0]["Config"])

    @cached_property
    def megabytes(self) -> float:
        """What the image takes on a node's disk, in 10^6 bytes; a registry stores a third of it."""
        if self.builder == "buildah":
            return float(_told("du", "-sb", self._root).split()[0]) / 1e6
        return (
            float(json.loads(_told(self.builder, "image", "inspect", self.name))[0]["Size"]) / 1e6
        )

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, within five minutes; its output and errors are text."""
        return subprocess.run(
            self._command(command, env),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=300,
        )

    @contextmanager
    def running(self, *command: str, log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """Keep a command running that does not end by itself; what it prints goes to `log`."""
        with (
            log.open("wb") as output,
            subprocess.Popen(
                self._command(command, env), stdout=output, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                yield process
            finally:
                # Process 1, as it is in docker and podman, never gets a SIGTERM that it does not
                # handle. Elsewhere SIGINT may be ignored: by all that a shell started with &.
                process.send_signal(SIGTERM if self.builder == "buildah" else SIGINT)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()

    def remove(self) -> None:
        """Undo what running took; the image itself stays."""
        if "_container" in self.__dict__:
            _told("buildah", "rm", self._container)

    def _command(self, command: tuple[str, ...], env: dict[str, str]) -> list[str]:
        words = [f"{name}={value}" for name, value in env.items()]
        if self.builder == "buildah":
            entered = ["unshare", "--mount", "sh", "-c", _ENTER, "sh", self._root, str(self.home)]
            entered += [self.config["User"], self.config["WorkingDir"]]
            return [*entered, *self.config["Env"], *words, *command]
        flags = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "host"]
        flags += ["--cap-drop", "ALL", "-v", f"{self.home}:/opt/dagster/home:ro"]
        flags += [word for pair in words for word in ("-e", pair)]
        return [self.builder, "run", *flags, self.name, *command]

    @cached_property
    def _container(self) -> str:
        return _told("buildah", "from", "--pull-never", self.name)

    @cached_property
    def _root(self) -> str:
        return _told("buildah", "mount", self._container)


def _told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
