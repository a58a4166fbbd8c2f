"""The dead-letter queue: which messages lie in it and why, and what is done with them."""
