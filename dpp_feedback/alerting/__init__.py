"""What is worth waking somebody for, and when: pure, without Dagster, boto3 or a clock."""
