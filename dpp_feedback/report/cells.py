"""Text that goes into a cell of a CSV file. What the files hold is table.py's and the assets'."""

from __future__ import annotations

# What makes a spreadsheet take text for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def defused(text: str) -> str:
    """Put a "'" before text that a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
