"""The whole engine as its users run it: a process, a real Kafka, a real Valkey, and the model.

Every test starts `python -m engine`, does to it what production does, and compares what Redis then
holds, or was ever told, with what the model says about the log that Kafka holds.
"""
