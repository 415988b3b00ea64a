"""rowfiles: reads the rows of JSONL, JSON, CSV, TSV and Parquet files, plain or packed with gzip.

A row that cannot be read comes with its problem in place of a value; the caller decides whether it costs the file (a
file of answers) or only itself (training data). Reads files, writes nothing. Never touches the columns of a row: the
caller knows what they mean.
"""
