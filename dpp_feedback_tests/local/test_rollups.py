"""Runs launched through a real web server, over small assets that bear the names of the product's.

That the product's own assets run so is tested where a whole `dpp-feedback run` is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from dpp_feedback.local import ports
from dpp_feedback.local.errors import StackError
from dpp_feedback.local.rollups import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASSETS = """
import dagster as dg

DAYS = dg.DailyPartitionsDefinition("2026-01-01")


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def daily_bounce_rates(context) -> None:
    if "2026-02-01" in context.partition_keys:
        raise RuntimeError("no such day")


@dg.asset(deps=[daily_bounce_rates])
def bounce_rate_report() -> None: ...

@dg.asset
def dlq_health() -> None: ...

@dg.asset
def suppressed_recipients() -> None: ...

@dg.asset
def ses_feedback_events() -> None: ...


def check(asset, name, severity=None):
    @dg.asset_check(asset=asset, name=name)
    def _check():
        if severity:
            return dg.AssetCheckResult(passed=False, severity=severity, description="too high")
        return dg.AssetCheckResult(passed=True)
    return _check


defs = dg.Definitions(
    assets=[
        daily_bounce_rates, bounce_rate_report, dlq_health, suppressed_recipients,
        ses_feedback_events,
    ],
    asset_checks=[
        check(daily_bounce_rates, "bounce_rate", dg.AssetCheckSeverity.WARN),
        check(dlq_health, "dlq_empty"),
        check(ses_feedback_events, "silence", dg.AssetCheckSeverity.ERROR),
    ],
)
"""
WORKSPACE = """
load_from:
  - python_file:
      relative_path: assets.py
      location_name: dpp_feedback
"""
AT_ONCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("dagster")
    files = {"assets.py": ASSETS, "workspace.yaml": WORKSPACE, "dagster.yaml": AT_ONCE}
    for name, content in files.items():
        (home / name).write_text(content)
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[WebServer]:
    port = ports.free_port()
    options = ["-w", str(home / "workspace.yaml"), "-h", ports.LOOPBACK, "-p", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "dagster_webserver", *options],
        env=os.environ | {"DAGSTER_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        while not ports.serves(port, "/server_info"):
            assert running.poll() is None
            time.sleep(0.2)
        yield WebServer(f"http://{ports.LOOPBACK}:{port}")
        running.terminate()


def test_all_days_are_materialized_in_one_run_then_the_reports_and_the_checks_that_are_left(
    server: WebServer, home: Path
) -> None:
    checks = server.roll_up(date(2026, 3, 1), date(2026, 3, 30))
    found = {(check.asset, check.name): (check.status, check.severity) for check in checks}
    assert found == {
        ("daily_bounce_rates", "bounce_rate"): ("FAILED", "WARN"),
        ("dlq_health", "dlq_empty"): ("SUCCEEDED", "ERROR"),
        ("ses_feedback_events", "silence"): ("FAILED", "ERROR"),
    }
    assert {check.description for check in checks if check.status == "FAILED"} == {"too high"}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        days = instance.get_materialized_partitions(dg.AssetKey("daily_bounce_rates"))
        assert (len(days), min(days), max(days)) == (30, "2026-03-01", "2026-03-30")
        for asset in ("bounce_rate_report", "dlq_health", "suppressed_recipients"):
            assert instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert not instance.get_latest_materialization_event(dg.AssetKey("ses_feedback_events"))
        assert instance.get_runs_count() == 3


def test_a_run_that_fails_is_named_with_its_page(server: WebServer) -> None:
    with pytest.raises(StackError, match=r"daily_bounce_rates failed.*http://127\S+/runs/\S+"):
        server.roll_up(date(2026, 2, 1), date(2026, 2, 2))


def test_a_run_that_is_not_launched_says_why(server: WebServer) -> None:
    with pytest.raises(StackError, match=r"Dagster does not launch no_such_asset: \S+"):
        server._run(["no_such_asset"])


def test_a_server_that_does_not_answer_is_one_sentence() -> None:
    nobody = WebServer(f"http://{ports.LOOPBACK}:{ports.free_port()}")
    with pytest.raises(StackError, match="Dagster does not answer at http://127"):
        nobody.roll_up(date(2026, 3, 1), date(2026, 3, 2))
