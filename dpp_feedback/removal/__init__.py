"""What is removed from the database: what is older than its time, and everything about one person.

Counters outlive both: retention leaves them and lets nobody recount what is gone, and erasure
leaves of each event what it was counted by.
"""
