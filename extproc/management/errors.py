"""How the management API says no: its refusals, and the envelopes of everything that goes wrong.

Refusals have LiteLLM's statuses and types, in the same envelope as those of the data path. What LiteLLM answers with a
500, a traceback or a Python dictionary in quotes is a plain sentence here. A validation error names the place and the
rule and never repeats the input, which may hold a key.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from extproc.errors import AlreadyExists, StoreUnavailable
from extproc.policy import refusals
from extproc.policy.refusals import Refusal, envelope

#: A thousand wrong entries in one list are one mistake.
_MOST_ERRORS = 20

KEY_NOT_IN_DATABASE = Refusal(404, "not_found_error", "Key not found in database", "key", "key_not_found")
KEY_NOT_FOUND = Refusal(404, "not_found_error", "Key not found.", "key", "key_not_found")
NO_KEYS_FOUND = Refusal(
    404, "not_found_error", "No keys found: at least one is unknown, so none was deleted.", "keys", "key_not_found"
)
NOT_YOUR_KEY = Refusal(
    403,
    "auth_error",
    "You are not allowed to access this key's info. A key may ask about itself.",
    "key",
    "not_your_key",
)
MASTER_KEY_TAKEN = Refusal(400, "bad_request_error", "This key cannot be used.", "key", "bad_request")
BODY_TOO_LARGE = Refusal(413, "invalid_request_error", "The request body is too large.", None, "body_too_large")
BODY_TOO_SLOW = Refusal(408, "invalid_request_error", "The request body did not arrive in time.", None, "body_too_slow")


class Refused(Exception):
    """Ends a request with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def bad_request(message: str, param: str) -> Refused:
    """The value of a field that cannot be accepted; 400 as in LiteLLM, not the 422 of a wrong type."""
    return Refused(Refusal(400, "bad_request_error", message, param, "bad_request"))


def admin_only(path: str) -> Refusal:
    """What a virtual key may not do."""
    message = (
        "Only proxy admin can be used to generate, delete, update info for new keys/users/teams. "
        f"Route={path}. Your role=unknown."
    )
    return Refusal(401, "auth_error", message, None, "admin_only")


def unknown_model(model: str) -> Refusal:
    """A model that does not exist, or that the key may not see: the same words for both."""
    message = f"The model '{model}' does not exist or is not available for this API key."
    return Refusal(404, "invalid_request_error", message, "model", "unknown_model")


def already_exists(error: AlreadyExists) -> Refusal:
    """A taken key or alias."""
    messages = {
        "key_alias": f"Key with alias '{error.value}' already exists. Unique key aliases across all keys are required.",
        "key": "Key already exists. Change it with /key/update, or delete it first.",
    }
    return Refusal(400, "bad_request_error", messages[error.field], error.field, "already_exists")


def respond(refusal: Refusal) -> Response:
    """A refusal as a response."""
    headers = {name.decode(): value.decode() for name, value in refusal.headers}
    return Response(envelope(refusal), refusal.status, headers, "application/json")


def install(app: FastAPI) -> None:
    """Answer every exception that an endpoint may end with."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(AlreadyExists, _refused)
    app.add_exception_handler(StoreUnavailable, _refused)
    app.add_exception_handler(TimeoutError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _refused(_request: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return respond(error.refusal)
    if isinstance(error, AlreadyExists):
        return respond(already_exists(error))
    return respond(refusals.STORE_UNAVAILABLE)


async def _invalid(_request: Request, error: Exception) -> Response:
    """FastAPI's 422, as LiteLLM's clients know it, less the input."""
    assert isinstance(error, RequestValidationError)
    shown: list[dict[str, Any]] = [
        {"type": one["type"], "loc": [*one["loc"]], "msg": one["msg"]} for one in error.errors()[:_MOST_ERRORS]
    ]
    return JSONResponse({"detail": shown}, 422)
