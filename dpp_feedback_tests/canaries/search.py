"""Canaries, which are words that stand nowhere else, and the search for them in any bytes.

A word is of lower-case letters and digits, as JSON, URLs, HTML and SQL all write them. Its first
half is enough to be found, so that a text that was cut hides none.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_STEM = 10  # characters
_DEEPEST = 3  # of packed within packed
_LARGEST = 64 * 1024 * 1024  # bytes that one stream may unpack to
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")


def canary(name: str) -> str:
    """Make the word of a name; each time the same."""
    return "zq" + sha256(name.encode()).hexdigest()[:18]


def _in_base64(encode: Callable[[bytes], bytes], stem: bytes) -> Iterator[bytes]:
    """Write the characters that are the stem's alone, at each of its three places in a triple."""
    for before in range(3):
        whole = encode(b"\0" * before + stem)
        yield whole[-(-before * 8 // 6) : (before + len(stem)) * 8 // 6]


def spellings(word: str) -> dict[str, bytes]:
    """Say how a word may be written, by the name of the way."""
    stem = word[:_STEM].encode()
    found = {
        "as it is": stem,
        "backwards": stem[::-1],
        "in hexadecimal": stem.hex().encode(),
        "in UTF-16": stem.decode().encode("utf-16-le"),  # big-endian holds all but the last byte
        "URL-encoded": b"".join(b"%%%02x" % byte for byte in stem),
        "as escapes of JSON": b"".join(b"\\u%04x" % byte for byte in stem),
        "as entities of HTML": b"".join(b"&#%d;" % byte for byte in stem),
    }
    for name, encode in (("base64", b64encode), ("base64 for URLs", urlsafe_b64encode)):
        for place, written in enumerate(_in_base64(encode, stem)):
            found[f"in {name} {place}"] = written
    return found


class Search:
    """Looks for canaries, and for other words by whose beginnings they are told apart.

    Args:
        names: of the canaries.
        others: more words, by their names.
    """

    def __init__(self, names: Iterable[str], others: Mapping[str, str] | None = None) -> None:
        words = {name: canary(name) for name in names} | dict(others or {})
        self._whose = {
            written if "base64" in way else written.lower(): f"{name} ({way})"
            for name, word in words.items()
            for way, written in spellings(word).items()
        }
        self._exact = self._pattern(lambda name: "base64" in name)
        self._any_case = self._pattern(lambda name: "base64" not in name)

    def _pattern(self, wanted: Callable[[str], bool]) -> re.Pattern[bytes]:
        return re.compile(
            b"|".join(re.escape(key) for key, name in self._whose.items() if wanted(name))
        )

    def __call__(self, data: bytes | str, depth: int = 0) -> set[str]:
        """Name the canaries in some data, packed ones too, each with how it is written."""
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        found = {self._whose[word] for word in self._exact.findall(data)}
        found |= {self._whose[word] for word in self._any_case.findall(data.lower())}
        if depth < _DEEPEST:
            for inner in _unpacked(data):
                found |= {f"{name}, packed" for name in self(inner, depth + 1)}
        return found


def _unpacked(data: bytes) -> Iterator[bytes]:
    for begin in _PACKED.finditer(data):
        try:
            unpacker = zlib.decompressobj(wbits=47)  # zlib's or gzip's head
            yield unpacker.decompress(data[begin.start() :], _LARGEST)
        except zlib.error:  # it only looks like one
            continue
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield archive.read(name)
