"""Throughput, growth and faults, measured; nothing in `dpp_feedback` imports it."""
