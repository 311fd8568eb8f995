"""Real services for the tests: a Kafka node, a Valkey server, and a recorder of what Valkey ran.

Each is one process that we start on a free port in a folder of its own, wait for by a condition,
and end by its own pid. Nothing is downloaded here and nothing is imitated.
"""
