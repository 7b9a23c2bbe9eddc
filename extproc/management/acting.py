"""Who a change is put down to in the audit trail.

It is the key's user, else its alias. `litellm-changed-by` names somebody else where it may: from the master key always,
from another key where its or its team's metadata has `allow_litellm_changed_by_header`. The key's digest is noted
beside it in any case. Addresses are left out where the settings say so.
"""

from __future__ import annotations

from fastapi import Request

from extproc.management.parts import ManagementParts
from extproc.model import Key
from extproc.policy import credentials
from extproc.stores.audit_chain import Actor

_HEADER = "litellm-changed-by"
_ALLOWED = "allow_litellm_changed_by_header"
_LONGEST = 256


def actor_of(request: Request, caller: Key, parts: ManagementParts) -> Actor:
    """Whoever sends this request."""
    name = caller.user_id or caller.alias or caller.name
    said = request.headers.get(_HEADER, "").strip()[:_LONGEST]
    if said.isprintable() and said and _may_name_another(caller):
        name = said
    return Actor(name, caller.digest, address(request, parts))


def address(request: Request, parts: ManagementParts) -> str:
    """The client's own, where proxies in front of Envoy are known; else of whom Envoy is connected with, whom it adds
    at the end whatever the client wrote before; empty where it is not to be written down."""
    if not parts.settings.log_requester_ip:
        return ""
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    return parts.settings.origins.client(forwarded.rpartition(",")[2].strip(), forwarded)[:_LONGEST]


def _may_name_another(caller: Key) -> bool:
    if caller.digest in {credentials.MASTER_KEY.digest, credentials.PREVIOUS_MASTER_KEY.digest}:
        return True
    metadata = (caller.metadata, caller.team.metadata if caller.team else {})
    return any(each.get(_ALLOWED) is True for each in metadata)
