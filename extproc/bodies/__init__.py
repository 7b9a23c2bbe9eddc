"""The bodies of an exchange: what a request asks, and what a response used, whatever the chunking."""
