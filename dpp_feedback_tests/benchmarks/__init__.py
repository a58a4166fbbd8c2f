"""Tests of benchmarks/: real parts, small sizes, and no times."""
