"""Asset checks: what must hold of rates and of arrival, and a sentence about what does not.

They judge; what they judge is analysed in feedback/ and read in assets/. `counters_equal_events`
and `dlq_empty` belong to the ops that find them, and stand with their assets.
"""
