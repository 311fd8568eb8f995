"""Tasks on history: a recorded range, judged by the code that runs live and with no sink."""
