"""Hiding mail addresses in text that people pass on: bodies of dead letters, bug reports.

Works on the text as it stands, so a body that is truncated, escaped several times or no JSON at
all is masked too. What it hides is the part before the at sign; when in doubt, more than that.
"""

from __future__ import annotations

import re

# How an at sign may be written: itself (also full width and small), behind a backslash, escaped in
# JSON (by an encoder that spares HTML even "&" and "=" are; at the end it may be cut off),
# URL-encoded, even more than once, quoted-printable, as an HTML entity. A run of backslashes is
# taken from its first on, and possessive quantifiers (++) never go back: so the search stays
# linear, whatever the text.
_SLASHES = r"(?<!\\)\\++"
_SIGN = r"[@\uFF20\uFE6B]"
_AT = (
    rf"(?:{_SIGN}"
    rf"|{_SLASHES}(?:{_SIGN}|[uU](?:00|000000)40|u\{{0{{0,4}}40\}}|x40|u(?:ff20|fe6b)"
    rf"|u(?:0(?:04?)?)?\Z)"
    rf"|%(?:(?:25){{0,8}}40|u0040)|(?:=|{_SLASHES}u003d)40"
    rf"|(?:&|{_SLASHES}u0026)(?:amp;|\#38;){{0,8}}(?:\#0{{0,7}}64|\#x0{{0,7}}40|commat);?)"
)
# What ends a local part that is not quoted: RFC 5322's specials, blanks and control characters, as
# they are or as \u escapes. Everything else belongs to it, "=" and "/" too (VERP, X.400).
_ENDS = r"(?:[01][0-9a-f]|2[0289c]|3[abce]|40|5[bcd]|7f)"
_LOCAL = (
    r'(?:[^\s\x00-\x20\x7f"(),:;<>\[\]\\@\uFF20\uFE6B%=&]++'
    rf"|(?!{_AT})(?:[%=&]|{_SLASHES}(?:u(?!00{_ENDS})[0-9a-f]{{4}}|/)))"
)
# A quoted local part, in quotes that are escaped alike. The backslashes before a quote say whose it
# is: with n of them before the first, n + 1 in a row mean one; an even number of these before the
# n of a quote leaves it the end, an odd number makes it part of the text, and anything else belongs
# to what is around. What stands between two strings of JSON looks like one too, but begins with
# one of , : ] }.
_NO_JSON = r"(?!(?:\s|\\++[nrt])*+[:,\]}])"
_PAIRS = r"(?:(?P=slashes){2}\\\\)*+"
_QUOTED = (
    rf'(?P<open>(?P<slashes>(?<!\\)\\{{0,31}}+)(?P<quote>"|u0022)){_NO_JSON}'
    rf"(?P<quoted>(?:(?!(?P=quote))[^\"\\]|\\++(?!(?P=quote))"
    rf"|{_PAIRS}(?P=slashes)\\(?P=slashes)(?P=quote)){{1,400}}+{_PAIRS})"
    rf"(?P<close>(?P=slashes)(?P=quote)){_AT}"
)
_QUOTED_IN_HTML = (
    rf"(?P<open2>&quot;|&\#34;){_NO_JSON}"
    rf'(?P<quoted2>(?:\\(?P=open2)|(?!(?P=open2))[^"]){{1,200}}+)(?P<close2>(?P=open2)){_AT}'
)
# The letter of \n may as well be the first of an address behind a backslash: it stays, as one.
_LINE = rf"(?P<line>{_SLASHES}[bfnrt])(?:{_LOCAL})*+(?P<at>{_AT})?"
_BARE = rf"(?P<bare>(?:{_LOCAL})++)(?P<at2>{_AT})?"
_OTHER_ESCAPE = rf"{_SLASHES}u[0-9a-f]{{4}}"
_ADDRESS = re.compile(f"{_QUOTED}|{_QUOTED_IN_HTML}|{_LINE}|{_BARE}|{_OTHER_ESCAPE}", re.IGNORECASE)


def masked(text: str) -> str:
    r"""Replace the local part of every mail address by its first character and `***`.

    `jane@example.com` becomes `j***@example.com`; a first character that is no letter or digit
    goes too. Knows the at sign as `\u0040`, `%40`, `=40` and `&#64;`, quoted local parts, any
    depth of JSON escapes, and addresses whose domain is cut off. JSON stays JSON, and masking
    twice is masking once. Takes time in proportion to the length.

    It hides no names, no subjects, no domains; no local part that is cut off before its at sign,
    and nothing that is encoded as a whole, like base64.
    """
    return _ADDRESS.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    for opening, local, closing in (("open", "quoted", "close"), ("open2", "quoted2", "close2")):
        if found[local]:
            at = found[0][found.end(closing) - found.start() :]
            return found[opening] + _first(found[local]) + "***" + found[closing] + at
    if found["at"]:
        return found["line"] + "***" + found["at"]
    if found["at2"]:
        return _first(found["bare"]) + "***" + found["at2"]
    return found[0]


def _first(local: str) -> str:
    return local[0] if local[0].isalnum() else ""
