"""Assets made from the events and the queues: rollups, the report, the DLQ's health, suppression.

Each module holds one asset and what it needs; judging it is checks.py's business.
"""
