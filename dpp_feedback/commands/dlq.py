"""The commands `dpp-feedback dlq ...`: what an operator does with the dead-letter queue."""

from __future__ import annotations

import click

from dpp_feedback.commands.dlq_act import discard, redrive
from dpp_feedback.commands.dlq_look import export, list_, show
from dpp_feedback.commands.dlq_reprocess import reprocess
from dpp_feedback.dlq.actor import NAMED


@click.group()
@click.option("--as", "name", help="Who you are, for the record: in a pod all have one role.")
def dlq(name: str | None) -> None:
    """Look into the dead-letter queue, put messages back, or discard them.

    list, show and export only look. reprocess and redrive bring messages back: the first stores
    what can be stored now and leaves the rest, the second moves everything to the queue. Each of
    reprocess, redrive and discard is recorded in public.ses_feedback_dlq_actions.
    """
    NAMED.set(name)


for command in (list_, show, export, reprocess, redrive, discard):
    dlq.add_command(command)
