"""Assets as Dagster materializes them."""
