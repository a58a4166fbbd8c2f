"""Bodies that attack: whoever may write to the queue or to a topic, and every outlet's defence."""
