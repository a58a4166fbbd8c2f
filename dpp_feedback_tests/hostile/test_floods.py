"""Names without end: a hundred thousand of them make no table, page or message longer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dpp_feedback.assets.loading import load_analysis
from dpp_feedback.checks.rates import _CHECKS
from dpp_feedback.drained import Parsed, Read, Source, metadata, sorted_out
from dpp_feedback.feedback.glance import glance
from dpp_feedback.messages import Message
from dpp_feedback.report import html
from dpp_feedback.report.words import KINDS
from dpp_feedback.store import Inserted, Store
from dpp_feedback_tests.feedback.bodies import SENT_AT

if TYPE_CHECKING:
    import psycopg

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
_FLOOD = """
INSERT INTO public.ses_feedback_daily_{}
SELECT %(day)s, CASE number %% 2 WHEN 0 THEN 'Delivery' ELSE 'Bounce' END, 'Permanent',
  's' || number, '', false, 'f' || number || '@evil.example', 'c' || number, {} 10
FROM generate_series(1, %(number)s) AS number
"""


def test_a_flood_of_senders_sets_domains_and_subtypes_makes_no_page_longer(
    database: psycopg.Connection[Any], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_MIN_VOLUME", "100")
    values = {"day": YESTERDAY, "number": 100_000}
    database.execute(_FLOOD.format("counts", "'d' || number || '.example',").encode(), values)
    database.execute(_FLOOD.format("totals", "").encode(), values)
    with Store.connect(database_url) as store:
        analysis = load_analysis(store, YESTERDAY)
    assert analysis.week.bounces == 500_000
    for groups in (analysis.sources, analysis.configuration_sets, analysis.domains):
        assert len(groups) == 21
    assert len(analysis.sub_types) == 20
    page = html.page(analysis, None, {kind: html.Picture("cid:x") for kind in KINDS})
    assert len(page) < 100_000
    for _, judge in _CHECKS.values():
        result = judge(analysis)
        assert len(result.description or "") < 5_000
        assert len(json.dumps([value.value for value in (result.metadata or {}).values()])) < 20_000


def test_a_run_over_a_thousand_kinds_shows_them_as_one() -> None:
    record = {"mail": {"messageId": "1"}}
    body = "\n".join(json.dumps({**record, "eventType": f"K{n}"}) for n in range(1_000))
    message = Read.of(Message("id", SENT_AT, 1, body, "handle"), keep_body=False)
    keys = {event.dedupe_key for event in message.outcome}  # type: ignore[union-attr]
    persisted = sorted_out(Parsed([message], Source("queue"), {}), Inserted(new=keys))
    said = metadata(persisted, 0, {})
    table = said["new_rows_by_kind"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data for record in table.records] == [{"kind": "other", "rows": 1_000}]


@pytest.mark.parametrize("broken", ["", "{"])
def test_a_body_that_names_thousands_of_kinds_is_known_by_a_hundred(broken: str) -> None:
    record = {"mail": {"messageId": "1"}}
    kinds = [*(f"A{n}" for n in range(5_000)), "Send"]
    lines = [json.dumps({**record, "eventType": kind}) for kind in kinds]
    seen = glance("\n".join([*lines, broken]), SENT_AT)
    assert len(seen.kinds) == 100
    assert "Send" in seen.kinds
