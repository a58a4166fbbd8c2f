"""Dagster's pages in a real browser: only `make screenshots` runs them."""
