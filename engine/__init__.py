"""Botsieve: counts what each address does in event-time windows and decides who is a bot."""

__version__ = "0.1.0"
