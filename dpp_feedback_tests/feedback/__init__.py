"""What SES says, read right: tests of `dpp_feedback.feedback`. No database, no queue, no clock."""
