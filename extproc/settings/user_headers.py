"""`general_settings.user_header_mappings`: the headers in which applications say who their user is.

LiteLLM's `customer` is the end user. Its `internal_user` would make whoever sends a header the user whose budget is
spent; here that is the key's owner, so such an entry is told as not supported, and its header only kept from providers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extproc.policy import end_users
from extproc.settings.document import Document, Place
from extproc.settings.schema import Configuration, UserHeader

_SETTING: Place = ("general_settings", "user_header_mappings")


def of(file: Configuration) -> dict[str, Any]:
    """The fields of `Settings` about headers that name users."""
    names = [(entry.header_name.lower(), entry.litellm_user_role) for _, entry in _entries(file)]
    return {
        "end_user_headers": tuple(dict.fromkeys(name for name, role in names if role == "customer")),
        "mapped_headers": tuple(dict.fromkeys(name for name, _ in names)),
    }


def mistakes(file: Configuration, found: Document) -> Iterator[str]:
    """A line for each header that means something else already."""
    for place, entry in _entries(file):
        if not end_users.may_be_mapped(entry.header_name.lower()):
            yield f"{found.at_value((*place, 'header_name'))}: {entry.header_name!r} cannot say who a user is"


def unsupported(file: Configuration, found: Document) -> Iterator[str]:
    """A line for each entry without an effect."""
    for place, entry in _entries(file):
        if entry.litellm_user_role == "internal_user":
            where = found.at_value((*place, "litellm_user_role"))
            yield f"{where}: litellm_user_role: internal_user is not supported: a key says whose it is"


def _entries(file: Configuration) -> Iterator[tuple[Place, UserHeader]]:
    """Each entry and where it stands: there may be one without a list."""
    told = file.general_settings.user_header_mappings
    if isinstance(told, UserHeader):
        yield _SETTING, told
    for index, entry in enumerate(told if isinstance(told, list) else ()):
        yield (*_SETTING, index), entry
