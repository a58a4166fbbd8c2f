"""The colours of the pictures: on a light ground and on a dark one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a picture: `LIGHT` or `DARK`."""

    ground: str
    text: str
    faint: str
    volume: str
    rate: str
    half: str
    review: str
    pause: str
    incident: str


LIGHT = Palette(
    ground="#ffffff",
    text="#1f2328",
    faint="#59636e",
    volume="#dfe4ea",
    rate="#0b57b0",
    half="#6b7480",
    review="#955f00",
    pause="#c01f2e",
    incident="#fbe3e4",
)
DARK = Palette(
    ground="#14181d",
    text="#e8edf2",
    faint="#a3adb8",
    volume="#2c343d",
    rate="#6cb2ff",
    half="#99a3ae",
    review="#e0a83a",
    pause="#ff7b74",
    incident="#46252a",
)
