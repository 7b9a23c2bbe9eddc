"""The management API: LiteLLM's endpoints for keys, spend, models and health, on FastAPI.

It decides nothing about exchanges and knows stores by their contract only.
"""

from extproc.management.app import create_app
from extproc.management.parts import ManagementParts

__all__ = ["ManagementParts", "create_app"]
