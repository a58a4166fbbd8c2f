"""The embedded stack for newcomers and tests: AWS stand-in, PostgreSQL, traffic.

Nothing of the product but the command line imports it, and it needs the `local` extra.
"""
