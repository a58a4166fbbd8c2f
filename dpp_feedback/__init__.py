"""Amazon SES bounces, complaints and deliveries, from SQS to Postgres, with Dagster."""
