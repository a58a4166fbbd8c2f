"""Tests of the dead-letter queue's workbench."""
