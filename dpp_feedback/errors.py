"""The one family of errors whose message is written for a person.

Nothing else: an error that belongs to a module is defined there, and derives from these.
"""


class FeedbackError(Exception):
    """One sentence for a person: what is wrong, with which setting, and what to do next.

    The command line and the ops print the message alone, without a traceback. It never holds a
    mail address, a message body or a password.
    """


class PassingError(FeedbackError):
    """The same, for a fault that may be gone in a minute: a restart, a lost connection."""
