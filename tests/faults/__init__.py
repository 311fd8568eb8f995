"""What goes wrong around the engine: a test for each row of the fault matrix, its id in the name.

Like the end-to-end tests, these start `python -m engine` between a real Kafka and a real Valkey.
"""
