"""Text that goes into a cell of a CSV file. What the files hold is table.py's and the assets'."""

from __future__ import annotations

import re

# What makes a spreadsheet take text for a formula (OWASP, "CSV Injection"), full width too: at the
# beginning of a cell, and where one begins for a program that separates cells by other characters.
# Blanks, quotes and marks without width before it are left out by some.
_FORMULA = re.compile(
    r"(?:^|(?<=[;|\t\r\n]))(?=[\t\r\n]"
    r"|(?:[^\S\t\r\n]|[\0\"'\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff])*+"
    r"[=+\-@\uff1d\uff0b\uff0d\uff20])"
)


def defused(text: str) -> str:
    """Put a "'" wherever a spreadsheet would begin a formula in text."""
    return _FORMULA.sub("'", text)
