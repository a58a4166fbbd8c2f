"""Tests of dpp_feedback/alerting."""
