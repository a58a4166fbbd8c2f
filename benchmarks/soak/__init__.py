"""The soak: drains at work for a long time while things go wrong, then an exact account.

Not a measurement of speed. What is asked: is every message where it belongs in the end, and does a
process that drains again and again stay as it was: its memory, threads, files and connections?
"""
