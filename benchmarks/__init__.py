"""What llm-extproc costs, measured beside what it stands between: `python -m benchmarks`.

`upstream.py`, `load.py` and `noop.py` are processes of their own, so that the processor time of each can be told
apart. `arms.py` builds the four arms, `measure.py` runs the cases over them in turn, `report.py` writes the tables;
`core.py` times the steps of an exchange without any process around them.
"""
