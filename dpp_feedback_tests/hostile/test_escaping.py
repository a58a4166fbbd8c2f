"""Names and cells are made harmless, and those that SES gives stay as they are."""

from __future__ import annotations

import json

import pytest

from dpp_feedback.feedback.escaped import harmless, json_text, printable
from dpp_feedback.report.cells import defused
from dpp_feedback_tests.hostile import attack


@pytest.mark.parametrize(
    "name",
    [
        *("news@example.com", "o'neil+x=y@sub.example.co.uk", "jörg@straße.example", "例え.jp"),
        *("my_set-1", "Transient/MailboxFull", "OnAccountSuppressionList", "", "(others)"),
    ],
)
def test_what_ses_says_stays_as_it_is(name: str) -> None:
    assert harmless(name) == printable(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\x1b[2Jb", r"a\x1b\x5b2Jb"),
        ("a\x9b\x7f\r\n\t\x00", r"a\x9b\x7f\r\n\t\x00"),
        ("a\u202eb\u2066\u200b\u2028\ufeff", r"a\u202eb\u2066\u200b\u2028\ufeff"),
        ("\U000e0041\ud800", r"\U000e0041\ud800"),
        ("![x](https://evil.example)", r"!\x5bx\x5d(https:\x2f\x2fevil.example)"),
        ("<img src=//evil.example>", r"\x3cimg src=//evil.example\x3e"),
        ("WWW.evil.example", r"WWW\x2eevil.example"),
        ("`<!channel>`", r"\x60\x3c!channel\x3e\x60"),
        ("[link=https://evil.example]", r"\x5blink=https:\x2f\x2fevil.example\x5d"),
    ],
)
def test_what_would_be_code_somewhere_is_escaped(name: str, expected: str) -> None:
    assert harmless(name) == expected
    assert harmless(expected) == expected


@pytest.mark.parametrize(
    "name", [attack.SENDER, attack.CONFIGURATION_SET, attack.SUB_TYPE, attack.DOMAIN, attack.KIND]
)
def test_the_names_of_the_attack_become_one_line_of_plain_characters(name: str) -> None:
    assert harmless(name).isprintable()
    assert not set(harmless(name)) & set("<>[]`")


@pytest.mark.parametrize("sign", [*"=+-@", *"\uff1d\uff0b\uff0d\uff20"])
@pytest.mark.parametrize("before", ["", " ", "\t", "\n", "\r", '"', "'", "\u202e", "\ufeff", "\0"])
def test_what_a_spreadsheet_takes_for_a_formula_is_none(sign: str, before: str) -> None:
    assert defused(f"{before}{sign}cmd|'/C calc'!A0").startswith("'")


@pytest.mark.parametrize("separator", [*";|\t\r\n"])
def test_nor_is_one_behind_what_other_programs_take_for_the_end_of_a_cell(separator: str) -> None:
    assert "'=" in defused(f"a{separator}=1+1")
    assert "' =" in defused(f"a{separator} =1+1")


@pytest.mark.parametrize("text", ["", "news@example.com", "a-b", "a;b", "a = b", "1.5", "例え"])
def test_other_text_is_no_formula(text: str) -> None:
    assert defused(text) == text


@pytest.mark.parametrize("part", [" ", ";", "\t", '"', "\n  ", ";          ", "=", "\u200b"])
def test_a_megabyte_of_what_nearly_is_a_formula_takes_linear_time(part: str) -> None:
    """Quadratic time would be hours here."""
    text = part * (1024 * 1024 // len(part))
    assert len(defused(text)) <= 2 * len(text) + 1


def test_json_for_machines_steers_no_terminal_and_says_the_same() -> None:
    value = {f"{chr(code)}\\x7f": chr(code) for code in (*range(0x100), 0x2028, 0x202E, 0xD800)}
    written = json_text(value, indent=1)
    assert all(char.isascii() and (char.isprintable() or char == "\n") for char in written)
    assert json.loads(written) == value
