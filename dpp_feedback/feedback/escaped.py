"""Text from outside, made harmless for wherever people read it."""

from __future__ import annotations

import json
import re

# What makes a link, an image or an element in Markdown, HTML, Slack and rich.
_MARKUP = re.compile(r"[<>\[\]`]|(?<=:)//|(?<=\bwww)\.", re.IGNORECASE)


def printable(text: str) -> str:
    """Escape what a terminal would not show as a character, as Python writes it.

    Control characters, among them those that begin a command to the terminal; marks that turn
    text around or have no width; blanks and line breaks other than U+0020.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _code(c) for c in text)


def harmless(name: str) -> str:
    """Escape the same in a name that goes into sentences, and what would be markup there.

    Dagster's pages take the descriptions of checks for Markdown, with links, and with pictures
    that a browser fetches from elsewhere. The names that SES gives (addresses, domains,
    configuration sets, subtypes) stay as they are; but the sender's queue may carry others.
    """
    return _MARKUP.sub(lambda found: "".join(map(_hex, found[0])), printable(name))


def json_text(value: object, indent: int | None = None) -> str:
    """Write JSON that steers no terminal: in ASCII, and U+007F escaped, which JSON need not be."""
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _hex(char: str) -> str:
    return f"\\x{ord(char):02x}"
