"""What to do about each sort of bounce, and about complaints. Nothing else.

After the pages "Contents of Amazon SNS notifications for Amazon SES" (bounce types), "Using the
account-level suppression list" and "Amazon SES sending review process FAQs" of AWS's guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpp_feedback.feedback.causes import Cause

COMPLAINTS = (
    "Mail them no more. Make sure that these people asked for this mail, and that unsubscribing "
    "takes one click."
)
_NEVER_AGAIN = "Mail these addresses no more, and find out how they came onto the list."
_BY_SUB_TYPE = {
    "Permanent/General": f"The receiving server refuses for good. {_NEVER_AGAIN}",
    "Permanent/NoEmail": f"The mailboxes do not exist. {_NEVER_AGAIN}",
    "Permanent/Suppressed": "SES itself did not send: these addresses bounced for others of late, "
    "and AWS counts them as bounces. Mail them no more.",
    "Permanent/OnAccountSuppressionList": "On the account's own suppression list; AWS does not "
    "count them. Take them off the mailing list, so that nobody tries.",
    "Permanent/OnTenantSuppressionList": "On the tenant's own suppression list. Take them off the "
    "mailing list, so that nobody tries.",
    "Permanent/EmailValidationSuppressed": "SES's address validation held them back as invalid. "
    "Correct them, or take them off the mailing list.",
    "Transient/General": "May work later. Mail them less often, and no more when they keep "
    "bouncing; check SPF, DKIM and DMARC if one provider refuses many.",
    "Transient/MailboxFull": "The mailboxes are full, and often abandoned. Try again in some "
    "days; mail no more those that stay full.",
    "Transient/MessageTooLarge": "Make the mail smaller: link to files instead of attaching them.",
    "Transient/CustomTimeoutExceeded": "SES gave up after the time that the sender sets. Allow "
    "more time, or look at the delivery delays of this domain.",
    "Transient/ContentRejected": "The provider dislikes what the mail says or links to. Compare "
    "with a mail that went through, and change it.",
    "Transient/AttachmentRejected": "The provider dislikes the attachment. Leave it out, change "
    "its type, or link to the file.",
    "Undetermined/Undetermined": "The answer did not say why. Read `diagnostic_code` of some of "
    "these events; mail no more those that keep bouncing.",
}
_BY_TYPE = {
    "Permanent": f"A permanent bounce. {_NEVER_AGAIN}",
    "Transient": "May work later. Read `diagnostic_code` of some of these events.",
}
_UNKNOWN = "Not in AWS's list as we know it. Read `diagnostic_code` of some of these events."


def advice(about: str | Cause) -> str:
    """Say what to do about a subtype ("Transient/MailboxFull"; "" for complaints), or a cause."""
    name = about if isinstance(about, str) else about.sub_type
    if not name:
        return COMPLAINTS
    return _BY_SUB_TYPE.get(name) or _BY_TYPE.get(name.partition("/")[0], _UNKNOWN)
