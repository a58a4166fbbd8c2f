"""Messages that could not be stored: `public.ses_feedback_rejects`, one row for each.

A row follows a message from its first rejection to what became of it. SQS gives a redriven message
a new id, so rows of redriven messages are also known by the hash of the body. The message itself
stays in SQS; with a key its body is kept here as well, encrypted by pgcrypto.
"""

from dpp_feedback.rejects.rows import Reject, RejectRow, Resolution, Waiting
from dpp_feedback.rejects.table import Rejects

__all__ = ["Reject", "RejectRow", "Rejects", "Resolution", "Waiting"]
