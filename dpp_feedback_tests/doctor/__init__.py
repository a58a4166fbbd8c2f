"""The doctor against the real stack: each check is made to pass, warn and fail by breaking it."""
