"""What a person sees: live and plain views, log lines, the summary of a run. Only reads."""
