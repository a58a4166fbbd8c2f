"""Tests of dpp_feedback/report."""
