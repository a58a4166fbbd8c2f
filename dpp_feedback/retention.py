"""The job `retention`: removes what is older than SES_FEEDBACK_RETENTION_DAYS.

What may go, and in which order, is removal/old.py's business.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of ops at run time.

from contextlib import closing

import dagster as dg

from dpp_feedback.connection import connect
from dpp_feedback.dlq.actor import without_address
from dpp_feedback.plainly import told_plainly
from dpp_feedback.rejects import Rejects
from dpp_feedback.removal.old import Removed, remove
from dpp_feedback.reprocess_record import who
from dpp_feedback.resources import database_url, retention_days


@dg.op(description="Events in batches, the oldest first; then resolved rejects and old acts.")
def remove_old_rows(context: dg.OpExecutionContext) -> None:
    """Remove what is old; where nothing is ever old, only bodies whose own time is over."""
    with told_plainly():
        days = retention_days()
        with closing(connect(database_url(), "dpp_feedback retention")) as connection:
            if days is None:
                removed = Removed(None, bodies=Rejects(connection).drop_old_bodies())
                context.log.info("SES_FEEDBACK_RETENTION_DAYS is never: events are kept for ever.")
            else:
                removed = remove(
                    connection, days, actor=without_address(who(context)), run_id=context.run_id
                )
                context.log.info(f"Removed what is from before {removed.before:%Y-%m-%d} (UTC).")
    context.add_output_metadata(
        {name: dg.MetadataValue.int(number) for name, number in removed.counts().items()}
    )


@dg.job(
    name="retention",
    description="Remove events, resolved rejects and acts that are older than "
    "SES_FEEDBACK_RETENTION_DAYS. Counters stay, and so does what the list of who must not be "
    "mailed rests on.",
)
def retention() -> None:
    """One op; it may be ended at any moment, and goes on the next time."""
    remove_old_rows()
