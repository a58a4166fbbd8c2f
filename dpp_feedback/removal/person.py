"""Knows one mail address again in whatever stands in a row, and takes it out. No I/O.

An address is looked for as it stands; encoded as URLs, HTML and quoted-printable text do it; and
with "=" for the at sign, as a variable return path has it (bounce+jane=example.com@example.net).
Case does not matter. `mary.jane@example.com` and `jane@example.com.au` are other people's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.events import dedupe_key
from dpp_feedback.feedback.values import Refused, address

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT = ("@", "=40", "%40", "%2540", "&#64;", "&#x40;", "&commat;", "\\u0040")
# No letter before it, nor one with a dot or the like: that would be a longer local part. But the
# last letter of an escape (%3C, =3C, \n, \u003c) is none, and a mail server's 550- is no name.
_BEFORE = (
    r"(?:(?:(?<=%[0-9a-f]{2})|(?<=%25[0-9a-f]{2}))(?<!2[bde])(?<!5f)"
    r"|(?<==3c)|(?<=\\[bfnrt])|(?<=\\u003c)|(?<=\\x3c)"
    r"|(?<=\b[245]\d\d-)|(?<=\b[245]\.\d\.\d-)"
    r"|(?<!\w)(?<!\w[.+'\-&*~$^{}]))"
)
# In a variable return path a sender's own prefix stands before it.
_BEFORE_IN_PATH = r"(?<!\w)(?<!\w\.)"
_AFTER = r"(?![\w-]|\.\w)"


class NoAddress(FeedbackError):
    """What was given is no mail address."""


class Person:
    """One address; it stays out of the repr, and so out of logs.

    Args:
        written: as somebody typed it; a display name and the case do not matter, as the parser has
            it.

    Attributes:
        domain: what stands behind the last at sign.
        addresses: as it may be stored: with its domain in letters, and in punycode.
        left: what takes the place of the address: `@` and the domain.
        patterns: texts in lower case of which one stands in the lower case of every row, written as
            text, that may name the address. Not each row with one of them does.

    Raises:
        NoAddress: it is none.
    """

    def __init__(self, written: str) -> None:
        try:
            self._address = address(written, "ADDRESS")
        except Refused as refused:
            raise NoAddress(f"{refused.detail}. Write one like jane@example.com.") from None
        local, _, self.domain = self._address.rpartition("@")
        if not local or not self.domain:
            raise NoAddress("ADDRESS has no name or no domain: write one like jane@example.com.")
        self.left = f"@{self.domain}"
        self._fingerprint = dedupe_key(
            anchor="", notification_type="", recipient=self._address
        ).rpartition(":")[2]
        locals_ = {local, quote(local, safe=""), local.replace('"', '\\"')}
        domains = {self.domain, *_punycode(self.domain)}
        self.addresses = sorted(f"{local}@{domain}" for domain in domains)
        # Quotes and backslashes are written in too many ways: there the domain must do.
        plain = not re.search(r'["\\]', local)
        heads = {name.lower() for name in locals_} if plain else {""}
        self.patterns = sorted(
            {head + at + domain for head in heads for at in (*_AT, "=") for domain in domains}
            | {self._fingerprint}
        )
        one_of = "|".join(re.escape(name) for name in sorted(locals_, key=len, reverse=True))
        at = "|".join(re.escape(sign) for sign in sorted(_AT, key=len, reverse=True))
        of = "|".join(re.escape(name) for name in sorted(domains))
        self._named = re.compile(
            f"(?:{_BEFORE}(?:{one_of})(?:{at})|{_BEFORE_IN_PATH}(?:{one_of})=)(?:{of}){_AFTER}",
            re.IGNORECASE,
        )
        self._keyed = re.compile(f":{self._fingerprint}$")

    @property
    def address(self) -> str:
        """In lower case, without display name: as it stands in the table."""
        return self._address

    @property
    def masked(self) -> str:
        """For people: first letter and domain."""
        from dpp_feedback.masking import masked

        return masked(self._address)

    def __repr__(self) -> str:
        """Without the address."""
        return f"Person({self.masked!r})"

    def named_in(self, value: Any) -> bool:
        """Whether a JSON value names the address anywhere, in a key or a text."""
        return any(self._named.search(text) for text in _texts(value))

    def receives(self, recipient: str | None) -> bool:
        """Whether a recipient is the person, or a return path to them.

        `tom&jane@example.com` is somebody else, though words about `jane` may look like it.
        """
        local, _, domain = (recipient or "").rpartition("@")
        if any(address.endswith(f"@{domain}") for address in self.addresses):
            return f"{local}@{domain}" in self.addresses
        return self.named_in(recipient)

    def leads_from(self, dedupe_key: str) -> bool:
        """Whether a dedupe key ends with the hash of the address, which anybody can make again."""
        return bool(self._keyed.search(dedupe_key))

    def without(self, value: Any) -> Any:
        """Return the same JSON value with `left` wherever the address stood."""
        match value:
            case str():
                return self._named.sub(lambda _: self.left, value)
            case list():
                return [self.without(each) for each in value]
            case dict():
                return {self.without(key): self.without(each) for key, each in value.items()}
            case _:
                return value


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _texts(each)
        case dict():
            for key, each in value.items():
                yield key
                yield from _texts(each)


def _punycode(domain: str) -> set[str]:
    """How else an internationalised domain is written.

    Not with Python's codec idna: by its rules of 2003 a sharp s is ss, which is another's domain.
    """
    try:
        return {".".join(map(_other_form, domain.split(".")))}
    except UnicodeError:
        return set()


def _other_form(label: str) -> str:
    if label.startswith("xn--"):
        return label[4:].encode().decode("punycode")
    return label if label.isascii() else "xn--" + label.encode("punycode").decode()
