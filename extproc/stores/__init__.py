"""Where keys, receipts and counters live. `contract.py` is all that the upper floors may know."""
