"""Tests of the local stack: its traffic, and the account of what became of it."""
