"""The groups of the command `dpp-feedback`, each with what it prints. cli.py adds them."""
