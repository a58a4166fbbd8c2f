"""What is measured beside the product: plain scripts, each in a process of its own.

Each is told how many messages wait, works until it has done them, and prints its seconds, its
processor's seconds and its peak of memory. Its clock starts when its connections are made and its
modules imported, which a run's is not spared: that favours the baseline.
"""
