"""Moving in from LiteLLM: its database is read, translated, and written into ours.

`source.py` reads, in one transaction that sees one moment and can change nothing. `translation.py` and `receipts.py`
turn rows into our values and note what has no counterpart here (pure). `run.py` puts them together; the writing is
`stores/sql_imports.py`. Everything is written by name, so an import can be repeated: what is there already is brought
up to date or, where it was changed here since, left alone.
"""
