"""Which messages Postgres would refuse now, found out without storing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.feedback.glance import events_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dpp_feedback.feedback.glance import Glance
    from dpp_feedback.store import Store


def refused(store: Store, glances: Mapping[str, Glance]) -> dict[str, str]:
    """Insert the events of messages, and take them back.

    Args:
        store: the database.
        glances: of the messages, by message id.

    Returns:
        Why a row of a message is refused, by message id; never a value.

    Raises:
        DatabaseRefused, DatabaseUnavailable: the table or the server is at fault, not a row.
    """
    events = {id_: events_of(seen.outcome) for id_, seen in glances.items()}
    rehearsed = store.insert([event for each in events.values() for event in each], rehearse=True)
    return {
        id_: rehearsed.refused[event.dedupe_key]
        for id_, each in events.items()
        for event in each
        if event.dedupe_key in rehearsed.refused
    }
