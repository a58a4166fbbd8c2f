"""What a measurement was made on: the machine, the versions, the date and the revision."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
import psycopg

REPOSITORY = Path(__file__).resolve().parents[1]
_PACKAGES = ("dagster", "boto3", "aiohttp", "psycopg", "pydantic", "aws-sqs-consumer")
_SETTINGS = ("shared_buffers", "max_wal_size", "fsync", "synchronous_commit")


def describe(database_url: str) -> dict[str, str]:
    """Describe this machine, and what is installed on it.

    Args:
        database_url: of the server whose version and settings count.
    """
    with psycopg.connect(database_url, autocommit=True) as server:
        settings: dict[str, str] = dict(
            server.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)",
                [["server_version", *_SETTINGS]],
            )
        )
    postgres = ", ".join(f"{name} {settings[name]}" for name in _SETTINGS)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "revision": _revision(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "Python": platform.python_version(),
        "PostgreSQL": f"{settings['server_version']} ({postgres})",
        **{name: version(name) for name in _PACKAGES},
    }


def _revision() -> str:
    """Name the commit; with + if files of the product differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words],  # noqa: S607 - wherever it is installed
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", "dpp_feedback", "migrations")
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")


def _processor() -> str:
    if sys.platform == "linux":
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()
