"""Pure NumPy and Numba: arrays in, arrays out; no Polars, no I/O, no clock."""
