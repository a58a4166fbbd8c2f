"""An SQS on loopback for benchmarks and faults: fast, countable, and unreliable on request.

It speaks SQS's JSON protocol to an unmodified boto3. `control.LoopbackSqs` starts it in a process
of its own, fills it, and asks it what became of each message.

What it does as AWS documents it: standard queues, visibility, receive counts, redrive to the
dead-letter queue with id and time of sending kept, delays, retention, long polls, message move
tasks, the limits of 10 messages and 1 MiB a call and 120,000 in flight, and the words of errors.

What it does not do: FIFO queues, tags, permissions, keys, message attributes, and checking of
signatures. Queue attributes that only these need are kept and given back. An action that it does
not know gets AWS's InvalidAction. AWS may do what this never does unless a fault says so: give a
message twice, or out of order. Counts called approximate are exact here. A receive handle that is
not the latest deletes nothing, which AWS calls possible. A move task goes at up to 500 messages a
second, where AWS chooses.
"""
