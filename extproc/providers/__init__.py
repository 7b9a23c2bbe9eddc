"""What each provider API looks like. One module per API; `registry.py` is the one list of them."""
