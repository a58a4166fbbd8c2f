"""Executes rollups and reports in the running Dagster, as a click on "Materialize" does.

Through the web server's GraphQL, so that the runs are launched by the instance that the UI shows.
What the assets do is their own modules' business.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dpp_feedback.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

DAILY = "daily_bounce_rates"
REPORTS = ("dlq_health", "suppressed_recipients", "bounce_rate_report")

_LOCATION = "dpp_feedback"  # in workspace.yaml
_JOB = "__ASSET_JOB"  # Dagster's own, for whatever assets are chosen
_PATIENCE = 600  # seconds for one run
_LOOK_EVERY = 1  # seconds

_LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on Error { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
_CHECKS = """
query {
  assetNodes {
    assetKey { path }
    assetChecksOrError {
      ... on AssetChecks {
        checks {
          name
          canExecuteIndividually
          executionForLatestMaterialization {
            status
            evaluation { severity description }
          }
        }
      }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Check:
    """An asset check, and what it found last.

    Attributes:
        asset: its asset.
        name: its own name.
        alone: it can be executed without its asset.
        status: Dagster's ("SUCCEEDED", "FAILED", "EXECUTION_FAILED"); None: not executed yet.
        severity: "WARN" or "ERROR", if it failed.
        description: what it says.
    """

    asset: str
    name: str
    alone: bool
    status: str | None
    severity: str | None
    description: str | None


class WebServer:
    """The web server that `dagster dev` runs.

    Args:
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._url = url

    def roll_up(self, first: date, last: date) -> list[Check]:
        """Materialize the days' rates, then the reports, and execute the checks that are left.

        Args:
            first: the first day (UTC).
            last: the last day; it must be over.

        Returns:
            All checks of all assets, with what they found.

        Raises:
            StackError: a run cannot be launched or fails, or takes longer than ten minutes.
        """
        tags = {
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        }
        self._run([DAILY], tags=tags)
        self._run(REPORTS)
        left = [check for check in self._checks() if check.status is None and check.alone]
        if left:
            self._run([], checks=left)
        return self._checks()

    def _run(
        self,
        assets: Sequence[str],
        *,
        tags: Mapping[str, str] | None = None,
        checks: Sequence[Check] | None = None,
    ) -> None:
        """Launch a run and wait for its end; without `checks` those of its assets are executed."""
        what = ", ".join(assets) or "the checks"
        selector: dict[str, Any] = {
            "repositoryLocationName": _LOCATION,
            "repositoryName": "__repository__",
            "jobName": _JOB,
            "assetSelection": [{"path": [asset]} for asset in assets],
        }
        if checks is not None:
            selector["assetCheckSelection"] = [
                {"assetKey": {"path": check.asset.split("/")}, "name": check.name}
                for check in checks
            ]
        metadata = {"tags": [{"key": k, "value": v} for k, v in (tags or {}).items()]}
        params = {"selector": selector, "mode": "default", "executionMetadata": metadata}
        launched = self._ask(_LAUNCH, params=params)["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            errors = [error["message"] for error in launched.get("errors", [])]
            why = launched.get("message") or "; ".join(errors) or launched["__typename"]
            raise StackError(f"Dagster does not launch {what}: {why}")
        run_id = launched["run"]["runId"]
        page = f"{self._url}/runs/{run_id}"
        deadline = time.monotonic() + _PATIENCE
        while (status := self._ask(_STATUS, run=run_id)["runOrError"]["status"]) != "SUCCESS":
            if status in ("FAILURE", "CANCELED"):
                raise StackError(f"The run of {what} failed, and says why: {page}")
            if time.monotonic() > deadline:
                raise StackError(f"The run of {what} has not ended in ten minutes: see {page}")
            time.sleep(_LOOK_EVERY)

    def _checks(self) -> list[Check]:
        found = []
        for node in self._ask(_CHECKS)["assetNodes"]:
            for check in node["assetChecksOrError"].get("checks", []):
                execution = check["executionForLatestMaterialization"] or {}
                evaluation = execution.get("evaluation") or {}
                found.append(
                    Check(
                        asset="/".join(node["assetKey"]["path"]),
                        name=check["name"],
                        alone=check["canExecuteIndividually"] == "CAN_EXECUTE",
                        status=execution.get("status"),
                        severity=evaluation.get("severity"),
                        description=evaluation.get("description"),
                    )
                )
        return found

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables})
        # http.client, because it never goes through a proxy.
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StackError(f"Dagster does not answer at {self._url}: {error}.") from error
        finally:
            connection.close()
        if answer.get("errors"):
            raise StackError(f"Dagster refuses a query: {answer['errors'][0]['message']}")
        data: dict[str, Any] = answer["data"]
        return data
