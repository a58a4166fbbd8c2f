"""What SES says: pure code that turns a message body into events.

Standard library and pydantic only. Nothing here knows Dagster, boto3, a database, a clock or the
network, so that every rule about SES can be read, tested and explained by itself.
"""
