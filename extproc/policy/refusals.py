"""Every refusal: its status, its type, its sentence, and the reason that metrics and logs count it under.

This is the only file with statuses and sentences that clients see. Statuses, types and texts are those of LiteLLM
1.109, so that clients written against it keep working; where its text leaks (key hashes, allowed models) ours does not.
A refusal is a value: the provider API's module dresses it in the shape its SDKs expect.
"""

from __future__ import annotations

import json

import msgspec

from extproc.events import Header


class Refusal(msgspec.Struct, frozen=True):
    """Why an exchange ends here.

    `kind` is the error's `type`, `param` the field or credential at fault. `reason` is a word from a closed set, safe
    as a metric label; nothing a client sent ever becomes one.
    """

    status: int
    kind: str
    message: str
    param: str | None
    reason: str
    headers: tuple[Header, ...] = ()


def envelope(refusal: Refusal) -> bytes:
    """LiteLLM's error body: `{"error": {"message", "type", "param", "code"}}`, with `code` the status as a string."""
    error = {
        "message": refusal.message,
        "type": refusal.kind,
        "param": refusal.param,
        "code": str(refusal.status),
    }
    return json.dumps({"error": error}).encode()


def _auth(message: str, reason: str, param: str | None = None, kind: str = "auth_error") -> Refusal:
    return Refusal(401, kind, message, param, reason)


NO_CREDENTIAL = _auth("Authentication Error, No api key passed in.", "no_credential")
MALFORMED_CREDENTIAL = _auth(
    "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.", "malformed_credential"
)
AMBIGUOUS_CREDENTIAL = _auth(
    "Authentication Error, more than one API key was passed in. Send exactly one.", "ambiguous_credential"
)
UNKNOWN_KEY = _auth(
    "Authentication Error, Invalid API key provided.", "unknown_key", param="key", kind="token_not_found_in_db"
)
KEY_BLOCKED = _auth(
    "Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.", "key_blocked"
)

STORE_UNAVAILABLE = Refusal(
    503,
    "no_db_connection",
    "Service Unavailable, the authentication database is temporarily unreachable. Please retry shortly.",
    None,
    "key_store_unavailable",
    ((b"retry-after", b"1"),),
)
OUTBOX_FULL = Refusal(
    503,
    "service_unavailable",
    "Service Unavailable, spend cannot be recorded durably at the moment. Please retry shortly.",
    None,
    "outbox_full",
    ((b"retry-after", b"5"),),
)
PROVIDER_CREDENTIAL_MISSING = Refusal(
    503,
    "service_unavailable",
    "The gateway's credential for this model's provider is not available.",
    None,
    "provider_credential_missing",
)
PROVIDER_CREDENTIAL_REFUSED = Refusal(
    502,
    "provider_authentication_error",
    "The provider refused the gateway's own credential. This is not about your API key; tell the gateway's operator.",
    None,
    "provider_credential_refused",
)
UNPRICED_MODEL = Refusal(
    400,
    "invalid_request_error",
    "No price is known for this model, and models without a price are not allowed here.",
    "model",
    "unpriced_model",
)
COMPRESSED_BODY = Refusal(
    415,
    "invalid_request_error",
    "Unsupported content-encoding: send the request body uncompressed.",
    "content-encoding",
    "compressed_body",
)
UNSUPPORTED_MEDIA_TYPE = Refusal(
    415,
    "invalid_request_error",
    "Unsupported content-type: send the request body as application/json.",
    "content-type",
    "unsupported_media_type",
)
HEADERS_TOO_LARGE = Refusal(
    431, "invalid_request_error", "The request headers are too large.", None, "headers_too_large"
)
EMPTY_BODY = Refusal(
    400, "invalid_request_error", "Invalid JSON payload: the body is empty", "request_body", "malformed_body"
)
UNKNOWN_ROUTE = Refusal(404, "invalid_request_error", "Not Found", None, "unknown_route")
NOT_PROCESSED = Refusal(
    500, "internal_server_error", "The gateway could not process this request.", None, "not_processed"
)


def not_a_virtual_key(masked: str) -> Refusal:
    """A credential that does not start with `sk-`; `masked` shows at most its first and last four characters."""
    return _auth(f"LiteLLM Virtual Key expected. Received={masked}, expected to start with 'sk-'.", "not_a_virtual_key")


def expired_key(masked: str, expiry: str, now: str) -> Refusal:
    """A key past its expiry; both moments are ISO 8601 in UTC."""
    message = f"Authentication Error - Expired Key. Key Expiry time {expiry} and current time {now}"
    return _auth(message, "expired_key", param=masked, kind="expired_key")


def model_not_allowed(model: str) -> Refusal:
    """A model outside the key's list. The list itself is not told."""
    message = (
        f"The requested model '{model}' is not available for this API key, or the model name is invalid. "
        "Call `/v1/models` to view available models for your key."
    )
    return Refusal(403, "key_model_access_denied", message, "model", "model_not_allowed")


def unknown_model(model: str, path: str) -> Refusal:
    """A model that no deployment serves."""
    message = (
        f"{path}: Invalid model name passed in model={model}. Call `/v1/models` to view available models for your key."
    )
    return Refusal(400, "invalid_request_error", message, None, "unknown_model")


def malformed_body(message: str, param: str | None, status: int) -> Refusal:
    """A body that cannot be understood; `message` says where."""
    return Refusal(status, "invalid_request_error", message, param, "malformed_body")
