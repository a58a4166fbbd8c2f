"""docs/performance.md: written from the results alone, and every number of it stands there."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.__main__ import NAMES
from benchmarks.results import FOLDER, read_all, write
from dpp_feedback_tests.benchmarks.test_results import RESULT

if TYPE_CHECKING:
    from pathlib import Path

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)*")


def numbers(text: str) -> set[str]:
    return {found.replace(",", "").rstrip(".") for found in NUMBER.findall(text)}


def test_each_name_is_a_module_that_measures() -> None:
    assert all(callable(import_module(f"benchmarks.{name}").measure) for name in NAMES)


def test_the_page_is_what_the_results_make() -> None:
    found = read_all(NAMES)
    assert found, "`make bench` has not been run"
    assert report.PAGE.read_text() == report.text(found, "performance")


def test_every_number_of_the_page_stands_in_a_file_of_results() -> None:
    known = set[str]().union(*(numbers(path.read_text()) for path in FOLDER.glob("*.json")))
    page = re.sub(r"QUICK=1|\]\([^)]*\)", "", report.PAGE.read_text())
    assert not numbers(page) - known


def test_no_result_of_the_page_is_a_quick_one() -> None:
    assert not [result.measurement.name for result in read_all(NAMES) if result.quick]


def test_a_page_shows_goals_tables_pictures_and_what_binds(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    report.write([RESULT], page)
    text = page.read_text()
    assert "| messages a second | at least 6,500 messages/s | 7,012 messages/s | met |" in text
    assert "| peak memory | at most 250 MB | 251 MB | **missed** |" in text
    assert "| what | how many |\n|---|---|\n| some | 7,012 |\n| few | 0.5 |\n" in text
    assert "![Numbers](page/tried.svg)" in text
    assert "**What binds.** It binds." in text
    assert (tmp_path / "page" / "tried.svg").read_text().startswith("<?xml")


def test_the_numbers_of_a_page_are_those_of_its_results(tmp_path: Path) -> None:
    known = numbers(write(RESULT, tmp_path).read_text())
    page = re.sub(r"QUICK=1|\]\([^)]*\)", "", report.text([RESULT], "page"))
    assert numbers(page) <= known
