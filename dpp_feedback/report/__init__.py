"""The report for people: an `Analysis` in words, charts, HTML, CSV and as mail.

Figures are made in feedback/, and only worded and drawn here. No Dagster, no database, no clock.
"""
