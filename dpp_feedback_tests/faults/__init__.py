"""What goes wrong with SQS, Postgres, processes and clocks, and where each message is then."""
