"""Tests of the database on every version of PostgreSQL that is supported."""
