"""The rooms of the house: who may import whom, and what an import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dpp_feedback"
# Each module may import only modules of a lower rank, and its neighbours within a room.
RANKS = {
    "dpp_feedback.errors": 0,
    "dpp_feedback.feedback": 0,
    "dpp_feedback.garbage": 0,
    "dpp_feedback.interrupts": 0,
    "dpp_feedback.concurrently": 1,
    "dpp_feedback.aws_errors": 1,
    "dpp_feedback.connection": 1,
    "dpp_feedback.plainly": 1,
    "dpp_feedback.masking": 0,
    "dpp_feedback.secrecy": 0,
    "dpp_feedback.messages": 1,
    "dpp_feedback.report": 1,
    "dpp_feedback.cloudwatch": 2,
    "dpp_feedback.daily_counts": 2,
    "dpp_feedback.destination": 2,
    "dpp_feedback.explain": 2,
    "dpp_feedback.dlq_actions": 2,
    "dpp_feedback.event_loop": 1,
    "dpp_feedback.look": 2,
    "dpp_feedback.migrate": 3,
    "dpp_feedback.migration_files": 1,
    "dpp_feedback.migration_ledger": 2,
    "dpp_feedback.move_tasks": 2,
    "dpp_feedback.receiving": 2,
    "dpp_feedback.rejects": 2,
    "dpp_feedback.ses": 2,
    "dpp_feedback.sns": 2,
    "dpp_feedback.sqs_calls": 2,
    "dpp_feedback.suppression": 2,
    "dpp_feedback.alerting": 3,
    "dpp_feedback.queue": 3,
    "dpp_feedback.show": 3,
    "dpp_feedback.store": 3,
    "dpp_feedback.dlq": 4,
    "dpp_feedback.notify": 4,
    "dpp_feedback.removal": 4,
    "dpp_feedback.resources": 5,
    "dpp_feedback.drain_config": 5,
    "dpp_feedback.drained": 5,
    "dpp_feedback.reprocess_record": 6,
    "dpp_feedback.ingest": 7,
    "dpp_feedback.assets": 8,
    "dpp_feedback.reprocess": 8,
    "dpp_feedback.checks": 9,
    "dpp_feedback.alert_inputs": 9,
    "dpp_feedback.alerts": 10,
    "dpp_feedback.dlq_sensor": 9,
    "dpp_feedback.retention": 9,
    "dpp_feedback.schedules": 10,
    "dpp_feedback.sensors": 10,
    "dpp_feedback.definitions": 11,
    "dpp_feedback.doctor": 12,
    "dpp_feedback.local": 12,
    "dpp_feedback.commands": 13,
    "dpp_feedback.cli": 14,
}
PURE = {"pydantic", "pydantic_core", "dpp_feedback"} | set(sys.stdlib_module_names)


def _modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found.append((".".join(parts).removesuffix(".__init__"), path))
    return found


def _imports(path: Path) -> set[str]:
    """Names of all modules a file imports, at the top, in a function, or for type checking."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} has a relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _room(module: str) -> str | None:
    rooms = [room for room in RANKS if module == room or module.startswith(f"{room}.")]
    return rooms[0] if rooms else None


def test_every_module_has_its_place() -> None:
    homeless = [m for m, _ in _modules() if m != "dpp_feedback" and _room(m) is None]
    assert not homeless


@pytest.mark.parametrize(("module", "path"), _modules())
def test_imports_run_one_way(module: str, path: Path) -> None:
    room = _room(module)
    if room is None:
        assert module == "dpp_feedback"
        assert not {name for name in _imports(path) if name.startswith("dpp_feedback")}
        return
    upward = {
        name
        for name in _imports(path)
        if (other := _room(name)) and other != room and RANKS[other] >= RANKS[room]
    }
    assert not upward


@pytest.mark.parametrize(
    ("module", "path"), [m for m in _modules() if m[0].startswith("dpp_feedback.feedback")]
)
def test_what_ses_says_is_read_with_the_standard_library_and_pydantic_alone(
    module: str, path: Path
) -> None:
    foreign = {name.split(".")[0] for name in _imports(path)} - PURE
    assert not foreign, module


def test_only_resources_names_an_environment_variable() -> None:
    readers = {
        module
        for module, path in _modules()
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    # The local stack passes the environment on to the servers it starts; it names none of it.
    assert {r for r in readers if not r.startswith("dpp_feedback.local")} == {
        "dpp_feedback.resources"
    }


def test_definitions_load_without_an_environment_a_thread_a_file_or_a_connection() -> None:
    program = """
import os, sys, threading
open_files = lambda: {os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                      if os.path.exists(f"/proc/self/fd/{n}")}
import dagster
threads, files, modules = threading.active_count(), open_files(), set(sys.modules)
import dpp_feedback.definitions
assert threading.active_count() == threads, threading.enumerate()
assert open_files() == files, open_files() - files
heavy = {"boto3", "botocore", "psycopg", "pandas", "numpy", "matplotlib", "PIL", "rich",
         "dpp_feedback.local"}
assert not heavy & (set(sys.modules) - modules), heavy & set(sys.modules)
"""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs Linux's /proc to see open files")
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
