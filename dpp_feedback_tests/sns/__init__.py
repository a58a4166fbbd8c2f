"""Signatures, certificates and topics of SNS."""
