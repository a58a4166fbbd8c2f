"""Names and contents of migration files that are not to be trusted: none reaches a database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.migrate import MigrationError, migrate, migrations_directory
from dpp_feedback.migration_files import read_files

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "20010101_good.sql"
NAMES = [
    "good.sql",
    "1_good.sql",
    "2001010_good.sql",
    "20010101.sql",
    "20010101_.sql",
    "20010101-good.sql",
    "20010101_Good.sql",
    "20010101_good.SQL",
    "20010101_good.sql ",
    "20010101_good.sql\n",
    "20010101_good.sql\r",
    "20010101_good.up.sql",
    "20010101_go od.sql",
    "20010101_g'ood.sql",
    '20010101_g"ood.sql',
    "20010101_good;drop table x.sql",
    "20010101_good--.sql",
    "20010101_$(id).sql",
    "20010101_`id`.sql",
    "20010101_%s.sql",
    "20010101_..sql",
    "20010101_\x1b[2J\x1b]0;title\x07.sql",
    "20010101_good\n20010102_bad.sql",
    "20010101_\u202elqs.doog.sql",
    "20010101_g\u043e\u043ed.sql",  # Cyrillic
    "\u0662\u0660\u0660\u0661\u0660\u0661\u0660\u0661_good.sql",  # Arabic digits
    "20010101_g\u200bood.sql",
    f"20010101_{'x' * 238}.sql",  # as long as a file system takes
    "-20010101_good.sql",
    "~20010101_good.sql",
]
# The URL leads nowhere: whoever refuses these must not have asked a server before.
NOWHERE = "postgresql://127.0.0.1:1/db"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_is_none_is_refused_and_shown_escaped(tmp_path: Path, name: str) -> None:
    (tmp_path / GOOD).write_text("SELECT 1")
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match="among the migrations is none") as caught:
        migrate(NOWHERE, tmp_path)
    said = str(caught.value)
    assert said.isprintable()
    assert said.isascii()
    assert len(said) < 500


def test_a_name_whose_bytes_are_no_text_is_refused_and_shown_escaped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"20010101_\xff.sql")).write_text("SELECT 1")
    except OSError:
        pytest.skip("this file system takes text alone")
    with pytest.raises(MigrationError, match=r"20010101_\\udcff\.sql' among"):
        migrate(NOWHERE, tmp_path)


def test_a_name_in_capitals_among_ours_is_seen_too(tmp_path: Path) -> None:
    (tmp_path / "20010101_GOOD.SQL").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="20010101_GOOD"):
        read_files(tmp_path)


def test_what_is_no_sql_file_is_left_alone(tmp_path: Path) -> None:
    for name in (GOOD, "README.md", "20010102_more.sql~", ".20010102_more.sql.swp", "x.sql.orig"):
        (tmp_path / name).write_text("SELECT 1")
    assert [file.name for file in read_files(tmp_path)] == [GOOD]


def test_two_files_of_one_date_are_refused(tmp_path: Path) -> None:
    for name in ("20010101_one.sql", "20010101_other.sql"):
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=r"_one\.sql and 20010101_other\.sql have the same"):
        migrate(NOWHERE, tmp_path)


@pytest.mark.parametrize("folder", ["", "concurrently"])
@pytest.mark.parametrize("leads", ["a file outside", "a folder", "nothing", "a device"])
def test_what_leads_out_of_the_folder_is_refused(tmp_path: Path, leads: str, folder: str) -> None:
    (inside := tmp_path / "migrations" / "concurrently").mkdir(parents=True)
    outside = tmp_path / "outside.sql"
    outside.write_text("SELECT 1")
    (inside.parent / GOOD).write_text("SELECT 1")
    link = inside.parent / folder / GOOD
    link.unlink(missing_ok=True)
    match leads:
        case "a file outside":
            link.symlink_to("../" * (2 if folder else 1) + "outside.sql")
        case "a folder":
            link.mkdir()
        case "nothing":
            link.symlink_to("gone.sql")
        case _:
            link.symlink_to("/dev/zero")
    with pytest.raises(MigrationError, match=f"^{GOOD} is no file of the folder"):
        migrate(NOWHERE, inside.parent)


def test_links_within_the_folder_are_followed_as_kubernetes_makes_them(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / GOOD).write_text("SELECT 1")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / GOOD).symlink_to(f"..data/{GOOD}")
    assert [file.sql for file in read_files(tmp_path)] == ["SELECT 1"]


def test_what_is_not_in_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / GOOD).write_bytes(b"SELECT '\xff'")
    with pytest.raises(MigrationError, match=f"^{GOOD} is not text in UTF-8"):
        migrate(NOWHERE, tmp_path)


def test_what_goes_before_a_file_belongs_to_one() -> None:
    files = {file.name: file for file in read_files(migrations_directory())}
    for path in (migrations_directory() / "concurrently").iterdir():
        assert files[path.name].beforehand == path.read_text(encoding="ascii")
