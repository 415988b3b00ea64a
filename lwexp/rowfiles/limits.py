"""Limits of the readers, by name. JSON has Python's own: the depth of its recursion, and 4,300 digits of a number."""

ROWS_AT_ONCE = 256
"""Rows of a Parquet file in memory; a long draft is about 100 KB, so they stay near 25 MB."""

MAX_CELL_CHARACTERS = 2**31 - 1
"""Of a CSV cell; the csv module's own limit of 131,072 characters refuses long answers."""

MAX_DIGITS = 18
"""Of a whole number in a CSV cell, so that 64 bits hold it."""

EXCEL_CHARACTERS = 32_767
"""Of a cell in Excel, which cuts longer texts without a word, also in the CSV that it saves."""
