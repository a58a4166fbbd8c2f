"""The asset `suppressed_recipients`: the list of who must not be mailed, beside SES's own.

Who is on it, the view public.ses_suppressed_recipients says; reading it is suppression.py's
business.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of assets at run time.

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from dpp_feedback.errors import FeedbackError
from dpp_feedback.plainly import told_plainly
from dpp_feedback.report.cells import defused
from dpp_feedback.resources import FeedbackStore, ReportFolder, SesAccount
from dpp_feedback.ses import AddressRefused, Ses
from dpp_feedback.suppression import LISTED_AT_SES, Reason, Suppressed, compare

FILE = "suppressed-recipients.csv"
_SOON = timedelta(days=7)
_MOST_ADDED = 1000  # by one run: SES takes few a second, and a run should end in minutes
_COLUMNS = ("recipient", "reason", "since", "last_event_at", "events", "expires_at", "evidence")


class SuppressionConfig(dg.Config):
    """Whether SES's list is only compared."""

    update_ses: bool = Field(
        default=False,
        description="Add our hard bounces and complaints to SES's account-level suppression list "
        "where they are missing. Nothing is ever removed from it.",
    )


@dataclass(frozen=True, slots=True)
class _AtSes:
    """What comparing with SES's list brought; numbers only.

    Attributes:
        missing: of ours, not there before this run.
        unknown: there, not on our list.
        added: by this run.
        refused: addresses that SES did not take in this run.
        fault: why comparing or adding ended early; "" if it did not.
    """

    missing: int | None = None
    unknown: int | None = None
    added: int = 0
    refused: int = 0
    fault: str = ""


@dg.asset(
    deps=[dg.AssetKey("ses_feedback_events")],
    group_name="ses_feedback",
    kinds={"postgres", "csv"},
    description="Who must not be mailed, by stated rules, with the evidence and when it expires: "
    f"`{FILE}` among the reports, and the view `public.ses_suppressed_recipients` for the sending "
    "application. Compared both ways with SES's account-level suppression list.",
    metadata={
        "dagster/table_name": "public.ses_suppressed_recipients",
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn("recipient", "text", "In lower case: look it up with lower()."),
                dg.TableColumn("reason", "text", "The strongest one; docs/suppression.md."),
                dg.TableColumn("since", "timestamptz", "The first event of this reason."),
                dg.TableColumn("last_event_at", "timestamptz", "The last event that counts."),
                dg.TableColumn("events", "bigint", "How many events count."),
                dg.TableColumn("evidence", "jsonb", "One object for each reason."),
                dg.TableColumn("expires_at", "timestamptz", "When it ends; null: never."),
            ]
        ),
    },
    # The nightly run comes at 00:45 UTC.
    freshness_policy=dg.FreshnessPolicy.cron(
        deadline_cron="0 3 * * *", lower_bound_delta=timedelta(hours=3)
    ),
)
def suppressed_recipients(
    context: dg.AssetExecutionContext,
    config: SuppressionConfig,
    store: FeedbackStore,
    ses: SesAccount,
    reports: ReportFolder,
) -> dg.MaterializeResult[None]:
    """Write the list. It is written even where SES cannot be asked; then the metadata say why."""
    with told_plainly():
        with store.connect() as database:
            ours = database.suppression.recipients()
            hashes = database.suppression.hashes()
        written = reports.connect().write(FILE, as_csv(ours), "text/csv; charset=utf-8")
    at_ses = _beside_ses(ses, ours, config.update_ses)
    if at_ses.fault:
        context.log.warning(at_ses.fault)
    metadata = _metadata(ours, at_ses, str(written))
    metadata["erased_and_kept_as_hash"] = dg.MetadataValue.int(hashes)  # not in the file
    return dg.MaterializeResult(metadata=metadata)


def as_csv(listed: Sequence[Suppressed]) -> bytes:
    """Write the list as CSV: UTF-8, times in ISO 8601, the evidence as JSON.

    A cell that a spreadsheet could take for a formula gets an apostrophe in front. Programs read
    the view instead.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for each in listed:
        expires = each.expires_at.astimezone(UTC).isoformat() if each.expires_at else ""
        writer.writerow(
            (
                defused(each.recipient),
                each.reason,
                each.since.astimezone(UTC).isoformat(),
                each.last_event_at.astimezone(UTC).isoformat(),
                each.events,
                expires,
                defused(json.dumps(each.evidence, separators=(",", ":"), ensure_ascii=False)),
            )
        )
    return text.getvalue().encode()


def _beside_ses(account: SesAccount, ours: Sequence[Suppressed], update: bool) -> _AtSes:
    try:
        ses = account.connect()
        differences = compare(ours, ses.suppressed())
    except FeedbackError as error:
        return _AtSes(fault=str(error))
    found = _AtSes(len(differences.missing_at_ses), len(differences.unknown_to_us))
    return _add(ses, differences.missing_at_ses[:_MOST_ADDED], found) if update else found


def _add(ses: Ses, missing: Sequence[Suppressed], found: _AtSes) -> _AtSes:
    """Add addresses to SES's list. One that SES refuses keeps none of the others from it."""
    added = refused = 0
    fault = ""
    for each in missing:
        try:
            ses.suppress(each.recipient, LISTED_AT_SES[each.reason])
            added += 1
        except AddressRefused:
            refused += 1
        except FeedbackError as error:  # a missing right, or no answer: the next would fail, too
            fault = str(error)
            break
    return replace(found, added=added, refused=refused, fault=fault)


def _metadata(
    ours: Sequence[Suppressed], at_ses: _AtSes, written: str
) -> dict[str, dg.MetadataValue]:
    """Numbers, which Dagster plots over the runs; never an address."""
    by_reason = Counter(each.reason for each in ours)
    soon = datetime.now(UTC) + _SOON
    metadata: dict[str, dg.MetadataValue] = {
        "recipients": dg.MetadataValue.int(len(ours)),
        **{reason.value: dg.MetadataValue.int(by_reason[reason]) for reason in Reason},
        "expiring_within_7_days": dg.MetadataValue.int(
            sum(1 for each in ours if each.expires_at and each.expires_at <= soon)
        ),
        "file": dg.MetadataValue.text(written),
    }
    if at_ses.missing is None or at_ses.unknown is None:
        metadata["not_compared_with_ses"] = dg.MetadataValue.text(at_ses.fault)
        return metadata
    metadata["missing_at_ses"] = dg.MetadataValue.int(at_ses.missing)
    metadata["only_at_ses"] = dg.MetadataValue.int(at_ses.unknown)
    metadata["added_to_ses"] = dg.MetadataValue.int(at_ses.added)
    metadata["refused_by_ses"] = dg.MetadataValue.int(at_ses.refused)
    if at_ses.fault:
        metadata["not_all_added_to_ses"] = dg.MetadataValue.text(at_ses.fault)
    return metadata
