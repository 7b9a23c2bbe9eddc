"""llm-extproc: keys, limits, budgets and redaction for LLM traffic behind Envoy."""

__version__ = "0.1.0"
