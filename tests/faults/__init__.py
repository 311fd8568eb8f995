"""Faults: what is killed, cut, stopped or refused, and the proof that nothing was lost or wrong.

Each row of the matrix is a test with the row's id in its name; `matrix.py` lists them.
"""
