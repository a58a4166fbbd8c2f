"""After everything has been done with canary values, they are where they belong, and nowhere else.

Each place is searched twice: for what the product handled, of which nothing may be there, and for
what was planted there, which must be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dpp_feedback_tests.canaries import places
from dpp_feedback_tests.canaries.bodies import PEOPLE
from dpp_feedback_tests.canaries.plants import PLANTED
from dpp_feedback_tests.canaries.scene import SECRETS
from dpp_feedback_tests.canaries.search import Search, canary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dpp_feedback_tests.canaries.conftest import Played
    from dpp_feedback_tests.canaries.places import Found

# Where they are meant to be: the columns, by table or view.
_SENT = {"source", "primary_recipient", "type_data"}
MEANT = {
    "ses_feedback_events": _SENT,
    "ses_suppressed_recipients": {"recipient"},
}


def _meant(path: Path) -> bool:
    """Whether a file is meant to hold them.

    Those of the database and of the queues (the stand-in is SQS itself), and the list of who must
    not be mailed, which names whom.
    """
    parts = path.parts
    return "data" in parts or "aws" in parts or path.name == "suppressed-recipients.csv"


def _files(search: Search, played: Played) -> Found:
    found = places.in_files(search, played.folder, _meant)
    # What somebody's trigger raises stands in Postgres's log as its message: no setting, and
    # nothing of ours, keeps that out.
    log = "stack/postgres/postgres.log"
    raised = {word for word in found.get(log, ()) if word.startswith("trigger ")}
    return {place: left for place, words in found.items() if (left := words - raised)}


def _sqlite(search: Search, played: Played) -> Found:
    return places.in_sqlite(search, played.home)


def _postgres(search: Search, played: Played) -> Found:
    return places.in_postgres(search, played.database_url, MEANT)


def _statements(search: Search, played: Played) -> Found:
    return places.in_texts(search, [("pg_stat_activity", one) for one in played.statements])


def _graphql(search: Search, played: Played) -> Found:
    found: Found = {}
    for name, answer in played.answers:
        for place, words in places.in_json(search, name, answer).items():
            found.setdefault(place, set()).update(words)
    return found


def _printed(search: Search, played: Played) -> Found:
    return places.in_texts(search, played.printed)


def _told(search: Search, played: Played) -> Found:
    return places.in_texts(search, [("Slack", text) for text in played.told])


PLACES: dict[str, Callable[[Search, Played], Found]] = {
    "files": _files,
    "Dagster's storage": _sqlite,
    "Postgres": _postgres,
    "statements": _statements,
    "GraphQL": _graphql,
    "what is printed": _printed,
    "what people are told": _told,
}
# What must be found in each place: a part of its name there.
CARELESS = {
    "files": {"tmp/left", f"work/{canary(PLANTED)}.txt", "postgres/postgres.log", "compute_logs"},
    "Dagster's storage": {"event_logs", "run_tags", "runs"},
    "Postgres": {"ses_feedback_rejects.detail", "comments"},
    "statements": {"pg_stat_activity"},
    "GraphQL": {
        *("LogMessageEvent_message", "cause.PythonError_message", "TextMetadataEntry_text"),
        *("PipelineTag_value", "stdout", "stderr"),
    },
    "what is printed": {"planted"},
    "what people are told": {"Slack"},
}


def test_the_scene_was_played(played: Played) -> None:
    """Else nothing would be there to be found."""
    assert played.statuses["process_feedback"] == {"SUCCESS", "FAILURE"}
    for job in ("daily_rollup", "bounce_rate_report", "suppression_list", "reprocess_dlq"):
        assert "SUCCESS" in played.statuses[job], job
    assert f"{canary('recipient')}@gmail.com" in played.stored
    for name in ("refused", "trigger", "poison", "complainer"):  # the last was erased
        assert not any(canary(name) in who for who in played.stored)
    assert len(played.handles) > 10
    assert played.told
    search = Search([*PEOPLE, *SECRETS])
    assert places.in_postgres(search, played.database_url, {}).keys() == {
        f"{table}.{column}" for table, columns in MEANT.items() for column in columns
    }


@pytest.mark.parametrize("place", PLACES)
def test_no_canary_is_left(place: str, played: Played) -> None:
    search = Search([*PEOPLE, *SECRETS], played.handles)
    assert PLACES[place](search, played) == {}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_planted_is_found(place: str, played: Played) -> None:
    found = PLACES[place](Search([PLANTED]), played)
    missing = {name for name in CARELESS[place] if not any(name in where for where in found)}
    assert not missing, sorted(found)


def test_a_body_that_a_person_asks_for_shows_no_address(played: Played) -> None:
    """It shows the rest: subject, names and tokens are what they look at."""
    shown = "\n".join(text for _, text in played.shown)
    assert "***@" in shown
    for name in PEOPLE:
        for at in ("@", "%40", "=gmail.com@", "\\u0040"):
            assert f"{canary(name)}{at}" not in shown
