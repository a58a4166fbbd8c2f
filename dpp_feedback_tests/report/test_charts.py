"""The pictures: PNG, of a sane size, the same for the same figures. How they look, people judge."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from dataclasses import astuple
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from dpp_feedback.report import charts
from dpp_feedback.report.palette import LIGHT
from dpp_feedback_tests.report import accounts

if TYPE_CHECKING:
    from pathlib import Path

    from dpp_feedback.feedback.analysis import Analysis


@pytest.mark.parametrize(
    "analysis",
    [
        accounts.normal(),
        accounts.incident(),
        accounts.empty(),
        accounts.first_day(),
        accounts.one_mail_a_day(),
        accounts.ten_million_a_day(),
        accounts.hostile(),
    ],
)
def test_the_picture_is_a_small_png_whatever_the_figures(analysis: Analysis) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit, a letter that is missing
        png = charts.picture(analysis)
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert 700 <= image.width <= 900
        assert 550 <= image.height <= 900
        assert len(image.convert("RGB").getcolors(1 << 16) or []) > 5  # no empty sheet
    assert len(png) < 60_000


def test_the_same_figures_give_the_same_bytes() -> None:
    assert charts.picture(accounts.normal()) == charts.picture(accounts.normal())


def test_light_dark_wide_and_narrow_differ() -> None:
    analysis = accounts.incident()
    drawn = [png for chart in charts.drawn(analysis).values() for png in astuple(chart)]
    assert len(set(drawn)) == 8


def test_the_days_of_an_incident_are_marked() -> None:
    def reds(analysis: Analysis) -> int:
        with Image.open(io.BytesIO(charts.chart(analysis, "bounce"))) as image:
            shade = tuple(int(LIGHT.incident[i : i + 2], 16) for i in (1, 3, 5))
            colours = image.convert("RGB").getcolors(1 << 20) or []
            return sum(n for n, colour in colours if colour == shade)

    assert reds(accounts.incident()) > 1_000
    assert reds(accounts.normal()) == 0


def test_a_picture_is_drawn_without_a_word_where_no_home_can_be_written(tmp_path: Path) -> None:
    program = """
from dpp_feedback.report import charts
from dpp_feedback_tests.report import accounts
assert charts.picture(accounts.normal()).startswith(b"\\x89PNG")
import matplotlib
print(matplotlib.get_cachedir())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"HOME": "/dev/null", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []  # the font cache was there, and is gone
