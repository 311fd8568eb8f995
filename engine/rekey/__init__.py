"""task=rekey: a topic copied to one that is keyed by address."""
