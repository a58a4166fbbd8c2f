"""The two files the local stack writes for itself and for others: its state, and the env file.

Whether a folder or a file is ours to change is decided here, by what stands in it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dpp_feedback.local.errors import StackError
from dpp_feedback.local.process import write_atomically

ENV_MARKER = "# written by dpp-feedback up"

_STATE_FILE = "stack.json"
_STATE_MARKER = "the local stack of dpp-feedback"


@dataclass(frozen=True)
class State:
    """What the folder remembers; the file doubles as the mark that the folder is ours."""

    settings: dict[str, str] = field(default_factory=dict)
    made_by: str = _STATE_MARKER

    def write(self, folder: Path) -> None:
        """Keep it in the folder."""
        write_atomically(folder / _STATE_FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "State | None":
        """Read a folder's state; None for a folder that is empty or not there.

        Raises:
            StackError: The folder holds something, and not such a file.
        """
        try:
            content = json.loads((folder / _STATE_FILE).read_bytes())
            if content["made_by"] == _STATE_MARKER:
                settings = content["settings"].items()
                return cls({str(name): str(value) for name, value in settings})
        except FileNotFoundError:
            # A start that was killed may have left the file's unfinished forerunner.
            ours = (p.name.startswith(f".{_STATE_FILE}.") for p in folder.glob("*"))
            if all(ours):
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        raise StackError(
            f"{folder} was not made by `dpp-feedback up`, or its {_STATE_FILE} is broken. "
            "Choose another folder, or remove this one."
        )


def refuse_foreign_env_file(path: Path) -> None:
    """Return when the file may be written: it is missing, or `up` wrote it.

    Raises:
        StackError: It is somebody else's.
    """
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise StackError(f"{path} can not be read ({error.strerror}). Move it away.") from error
    if content.splitlines()[:1] != [ENV_MARKER]:
        raise StackError(
            f"{path} was not written by `dpp-feedback up` and stays as it is. "
            "Move it away and try again."
        )


def write_env_file(path: Path, settings: Mapping[str, str]) -> None:
    """Write settings for programs that read an env file.

    Raises:
        StackError: It can not be written.
    """
    lines = [
        ENV_MARKER,
        "# Written anew by each `up`: keep settings of your own elsewhere. Everything here points",
        "# to this machine. The AWS credentials only sign requests; they open nothing anywhere.",
        *(f"{name}={value}" for name, value in settings.items()),
    ]
    try:
        write_atomically(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise StackError(f"{path} can not be written ({error.strerror}).") from error
