"""What Dagster loads: the names that others call, and what must hold for every run."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg

from dpp_feedback.definitions import defs

ROOT = Path(__file__).resolve().parents[1]


def test_the_names_that_others_call_are_there() -> None:
    dg.Definitions.validate_loadable(defs)
    repository = defs.get_repository_def()
    assert {key.to_user_string() for key in repository.assets_defs_by_key} == {
        "ses_feedback_events",
        "daily_bounce_rates",
        "bounce_rate_report",
        "dlq_health",
        "suppressed_recipients",
    }
    assert {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")} == {
        "process_feedback",
        "reprocess_dlq",
        "daily_rollup",
        "bounce_rate_report",
        "suppression_list",
        "feedback_checks",
        "retention",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "feedback_queue_sensor",
        "dlq_health_sensor",
        "feedback_alerts",
        "run_failure_alert",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "daily_rollup_schedule",
        "bounce_rate_report_schedule",
        "suppression_list_schedule",
        "feedback_checks_schedule",
        "retention_schedule",
    }
    checks = repository.asset_graph.asset_check_keys
    assert {f"{key.asset_key.to_user_string()}: {key.name}" for key in checks} == {
        "ses_feedback_events: silence",
        "ses_feedback_events: events_from_the_future",
        "daily_bounce_rates: counters_equal_events",
        "daily_bounce_rates: bounce_rate",
        "daily_bounce_rates: complaint_rate",
        "daily_bounce_rates: incidents",
        "daily_bounce_rates: reconciliation",
        "daily_bounce_rates: unknown_kinds",
        "dlq_health: dlq_empty",
        "dlq_health: dlq_expiring",
    }


def test_the_asset_graph_reads_as_the_documentation() -> None:
    for assets in defs.get_repository_def().assets_defs_by_key.values():
        for spec in assets.specs:
            assert len(spec.description or "") > 60, spec.key
            assert spec.owners == ["team:email-deliverability"]
            assert spec.kinds
            assert spec.group_name != "default"
            assert spec.tags["domain"] == "ses-feedback"


def test_everything_that_a_person_can_start_says_what_it_does() -> None:
    repository = defs.get_repository_def()
    said = {
        job.name: job.description
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
    }
    said |= {sensor.name: sensor.description for sensor in repository.sensor_defs}
    said |= {schedule.name: schedule.description for schedule in repository.schedule_defs}
    for checks in repository.asset_checks_defs_by_key.values():
        if isinstance(checks, dg.AssetChecksDefinition):
            said |= {spec.name: spec.description for spec in checks.check_specs}
    assert len(said) > 15
    assert {name for name, text in said.items() if len(text or "") < 20} == set()


def test_the_job_is_four_ops_in_a_row() -> None:
    job = defs.resolve_job_def("process_feedback")
    assert [node.name for node in job.graph.nodes] == ["ses_feedback_events"]
    graph = job.graph.node_dict["ses_feedback_events"].definition
    assert isinstance(graph, dg.GraphDefinition)
    assert [node.name for node in graph.nodes_in_topological_order] == [
        "receive_messages",
        "parse_messages",
        "persist_events",
        "acknowledge_messages",
    ]


def test_every_job_stays_in_one_process_and_writes_no_op_output_to_disk() -> None:
    for job in defs.get_repository_def().get_all_jobs():
        assert job.executor_def is dg.in_process_executor
        assert job.resource_defs["io_manager"] is dg.mem_io_manager


def test_the_sensor_runs_unless_somebody_stops_it() -> None:
    sensor = defs.resolve_sensor_def("feedback_queue_sensor")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30


def test_the_laptops_instance_finds_killed_runs_and_calls_nobody(tmp_path: Path) -> None:
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        assert instance.get_settings("sensors")["use_threads"]
        assert not instance.telemetry_enabled
