"""The pictures: PNG, of a sane size, the same for the same figures. How they look, people judge."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from dpp_feedback.report import charts
from dpp_feedback.report.words import KINDS
from dpp_feedback_tests.report import accounts

if TYPE_CHECKING:
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
    drawn = {
        charts.chart(analysis, kind, palette=palette, narrow=narrow)
        for kind in KINDS
        for palette in (charts.LIGHT, charts.DARK)
        for narrow in (False, True)
    }
    assert len(drawn) == 8


def test_the_days_of_an_incident_are_marked() -> None:
    def reds(analysis: Analysis) -> int:
        with Image.open(io.BytesIO(charts.chart(analysis, "bounce"))) as image:
            shade = tuple(int(charts.LIGHT.incident[i : i + 2], 16) for i in (1, 3, 5))
            colours = image.convert("RGB").getcolors(1 << 20) or []
            return sum(n for n, colour in colours if colour == shade)

    assert reds(accounts.incident()) > 1_000
    assert reds(accounts.normal()) == 0
