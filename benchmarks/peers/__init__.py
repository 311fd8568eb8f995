"""The engine's job (`rules=seed`, tumbling 10 s, lateness 10 s) as other tools do it best."""
