"""The one family of errors whose message is written for a person, and what is said of others.

Nothing else: an error that belongs to a module is defined there, and derives from these.
"""


class FeedbackError(Exception):
    """One sentence for a person: what is wrong, with which setting, and what to do next.

    The command line and the ops print the message alone, without a traceback. It never holds a
    mail address, a message body or a password.
    """


class PassingError(FeedbackError):
    """The same, for a fault that may be gone in a minute: a restart, a lost connection."""


def unforeseen(error: Exception) -> str:
    """Say of an error that is none of ours what may be stored and shown: its class.

    Its text may quote whatever was being worked on: a body, an address, a row, a header that signs.
    That of an ImportError names modules alone.
    """
    if isinstance(error, ImportError):
        return f"{type(error).__name__}: {error}. Is the installation whole?"
    return (
        f"{type(error).__name__}: an error that nobody foresaw. What it says is left out, as it "
        "may quote a message; the stack trace says where it came up."
    )
