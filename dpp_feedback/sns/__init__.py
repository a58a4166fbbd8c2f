"""Whether SNS wrote a message body, for one of our topics: signature, certificate, topic."""
