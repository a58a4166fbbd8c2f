"""Tests of the SQS of benchmarks/."""
