"""The one exception that the local stack shows to a person.

It lives alone so that every module of the stack can raise it without importing `stack`.
"""

from dpp_feedback.errors import FeedbackError


class StackError(FeedbackError):
    """Something about the local stack that a person can put right: what, and the next step."""
