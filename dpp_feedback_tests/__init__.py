"""The tests, in the same rooms as the product; conftest.py starts the real parts."""
