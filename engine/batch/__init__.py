"""Pure Polars over frames: decode, windows, verdicts; no I/O, no clock."""
