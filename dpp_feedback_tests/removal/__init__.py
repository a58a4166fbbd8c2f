"""Retention and erasure, on a real PostgreSQL."""
