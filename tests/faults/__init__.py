"""What was broken on purpose, and what had to hold: a test for each row of the fault matrix.

The id of its row comes first in the name of a test; `matrix` lists the rows.
"""
