"""The search for canaries finds what it is to find; all that it says rests on that."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
import zlib
from base64 import b64encode, urlsafe_b64encode
from html import escape
from urllib.parse import quote

import pytest

from dpp_feedback_tests.canaries.search import Search, canary

WORD = canary("jane")
TEXT = f"says: <{WORD}@example.com> & more"


def zipped(text: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.txt", text)
    return written.getvalue()


@pytest.mark.parametrize(
    "hidden",
    [
        TEXT,
        TEXT.upper(),
        TEXT[::-1],
        TEXT.encode().hex(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-be"),
        *(b64encode(b"x" * before + TEXT.encode()) for before in range(3)),
        urlsafe_b64encode(TEXT.encode() + b"\xff\xfe"),
        json.dumps({"a": json.dumps(TEXT)}),
        "".join(f"\\u{ord(letter):04x}" for letter in TEXT),
        escape(TEXT),
        "".join(f"&#{ord(letter)};" for letter in TEXT),
        quote(TEXT),
        "".join(f"%{ord(letter):02X}" for letter in TEXT),
        repr(TEXT.encode()),
        pickle.dumps({"body": TEXT}),
        gzip.compress(TEXT.encode()),
        b"before" + zlib.compress(TEXT.encode()) + b"after",
        zlib.compress(gzip.compress(TEXT.encode())),
        zipped(TEXT),
        TEXT[: TEXT.index(WORD) + 12],  # cut
    ],
)
def test_a_canary_is_found_however_it_is_written(hidden: bytes | str) -> None:
    data = hidden if isinstance(hidden, bytes) else hidden.encode()
    assert {name.partition(" ")[0] for name in Search(["omar", "jane"])(data)} == {"jane"}


def test_what_holds_none_is_clean() -> None:
    assert Search(["omar"])(TEXT) == set()
    assert Search(["omar"])(zipped(TEXT)) == set()
