"""Measurements with a recorded method; never part of the tests."""
