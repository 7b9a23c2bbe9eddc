"""Every refusal: its status, its type, its sentence, and the reason that metrics and logs count it under.

This is the only file with statuses and sentences that clients see. Statuses, types and texts are those of LiteLLM
1.109, so that clients written against it keep working; where its text leaks (key hashes, allowed models) ours does not.
A refusal is a value: the provider API's module dresses it in the shape its SDKs expect.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from extproc.events import Header
from extproc.model import NANOS_PER_DOLLAR, Explanation, Nanos, UnixMs


class Refusal(msgspec.Struct, frozen=True):
    """Why an exchange ends here.

    `kind` is the error's `type`, `param` the field or credential at fault. `reason` is a word from a closed set, safe
    as a metric label; nothing a client sent ever becomes one. `explanation` is there where a limit had no room,
    `found` counts what was found in texts, as in `Outcome.redactions`.
    """

    status: int
    kind: str
    message: str
    param: str | None
    reason: str
    headers: tuple[Header, ...] = ()
    explanation: Explanation | None = None
    found: dict[tuple[str, str, str], int] = {}


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
    ((b"retry-after", b"1"), (b"x-extproc-outage", b"keys")),
)
COUNTERS_UNAVAILABLE = Refusal(
    503,
    "service_unavailable",
    "Service Unavailable, limits and budgets cannot be checked at the moment. Please retry shortly.",
    None,
    "counters_unavailable",
    ((b"retry-after", b"1"), (b"x-extproc-outage", b"counters")),
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
PAYLOAD_KEY_MISSING = Refusal(
    503,
    "service_unavailable",
    "The key that opens the encrypted texts of this request is not available.",
    None,
    "payload_key_missing",
)
PROVIDER_CREDENTIAL_REFUSED = Refusal(
    502,
    "provider_authentication_error",
    "The provider refused the gateway's own credential. This is not about your API key; tell the gateway's operator.",
    None,
    "provider_credential_refused",
)
PROVIDER_REDIRECTED = Refusal(
    502,
    "api_connection_error",
    "The provider sent this request elsewhere; the gateway goes nowhere that its configuration does not name.",
    None,
    "provider_redirected",
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


def of_provider(status: int) -> Refusal | None:
    """What a client is told where it may not have a provider's own answer: what that says is between it and us, and
    SDKs follow a redirect, prompt and all."""
    if status in {401, 403}:
        return PROVIDER_CREDENTIAL_REFUSED
    return PROVIDER_REDIRECTED if 300 <= status < 400 else None


def too_many_failures(wait_ms: int) -> Refusal:
    """An unknown key of an address that showed too many of them. Ours: the store is not asked."""
    message = (
        "Authentication Error, too many invalid API keys came from this address. A valid key that is in use is not "
        "affected; check the key, and retry later."
    )
    headers = ((b"retry-after", str(-(-wait_ms // 1_000)).encode()),)
    return Refusal(429, "auth_error", message, "key", "too_many_failures", headers)


def not_a_virtual_key(masked: str) -> Refusal:
    """A credential that does not start with `sk-`; `masked` shows at most its first and last four characters."""
    return _auth(f"LiteLLM Virtual Key expected. Received={masked}, expected to start with 'sk-'.", "not_a_virtual_key")


def expired_key(masked: str, expiry: str, now: str) -> Refusal:
    """A key past its expiry; both moments are ISO 8601 in UTC."""
    message = f"Authentication Error - Expired Key. Key Expiry time {expiry} and current time {now}"
    return _auth(message, "expired_key", param=masked, kind="expired_key")


def team_blocked(team_id: str) -> Refusal:
    """Every key of a blocked team."""
    return _auth(
        f"Authentication Error, Team={team_id} is blocked. Update via `/team/unblock` if you're an admin.",
        "team_blocked",
    )


def user_blocked(user_id: str) -> Refusal:
    """A key of a blocked user, told as LiteLLM tells of a blocked team."""
    return _auth(
        f"Authentication Error, User={user_id} is blocked. Update via `/user/unblock` if you're an admin.",
        "user_blocked",
    )


ADDRESS_NOT_ALLOWED = Refusal(
    403, "auth_error", "Access forbidden: IP address not allowed.", None, "address_not_allowed"
)
ROUTE_NOT_ALLOWED = Refusal(
    403, "auth_error", "Virtual key is not allowed to call this route.", None, "route_not_allowed"
)


def end_user_blocked(end_user: str) -> Refusal:
    """A request made for a blocked end user. Ours: LiteLLM stores the block and lets them pass."""
    message = f"End User={end_user} is blocked. Update via `/customer/unblock` if you're an admin."
    return Refusal(400, "end_user_blocked", message, "user", "end_user_blocked")


def model_not_allowed(model: str, whose: str = "key") -> Refusal:
    """A model outside the list of the key, its team or the end user (LiteLLM's `customer`). The list is not told."""
    message = (
        f"The requested model '{model}' is not available for this API key, or the model name is invalid. "
        "Call `/v1/models` to view available models for your key."
    )
    return Refusal(403, f"{whose}_model_access_denied", message, "model", "model_not_allowed")


def unknown_model(model: str, path: str) -> Refusal:
    """A model that no deployment serves."""
    message = (
        f"{path}: Invalid model name passed in model={model}. Call `/v1/models` to view available models for your key."
    )
    return Refusal(400, "invalid_request_error", message, None, "unknown_model")


def model_without_api(model: str, path: str) -> Refusal:
    """A model that is served, but not on this path. Ours: LiteLLM translates."""
    message = f"{path}: the provider of model={model} does not speak the API of this path, and nothing is translated."
    return Refusal(400, "invalid_request_error", message, "model", "model_without_api")


def malformed_body(message: str, param: str | None, status: int) -> Refusal:
    """A body that cannot be understood; `message` says where."""
    return Refusal(status, "invalid_request_error", message, param, "malformed_body")


def malformed_header(name: str) -> Refusal:
    """A header that must be there once, and be a text that is not too long."""
    message = f"Invalid header {name!r}: send it once, as a text of at most 1024 bytes."
    return Refusal(400, "invalid_request_error", message, name, "malformed_header")


def consent_missing(purposes: Sequence[str]) -> Refusal:
    """A request for a person who has not agreed to what the gateway demands. Ours."""
    granted = ",".join(f"{purpose}:true" for purpose in purposes)
    message = f"The user's consent is required: send metadata.user_consent with {granted!r}, once it was given."
    return Refusal(403, "consent_required", message, "metadata.user_consent", "consent_missing")


def consent_out_of_date(max_age_days: int) -> Refusal:
    """A consent that is too old, or does not say when it was given. Ours."""
    message = (
        "The user's consent is required: send metadata.consent_date (YYYY-MM-DD), "
        f"which may be {max_age_days} days ago at most."
    )
    return Refusal(403, "consent_required", message, "metadata.consent_date", "consent_out_of_date")


def unknown_guardrail(name: str) -> Refusal:
    """A guardrail that a key, its team or the request asks for, and nobody has configured: it was relied on."""
    return Refusal(400, "invalid_request_error", f"Guardrail not found: {name}", "guardrails", "unknown_guardrail")


def blocked_entity(entity: str, guardrail: str) -> Refusal:
    """A text with something that may not pass (LiteLLM's sentence)."""
    message = (
        f"Blocked entity detected: {entity} by Guardrail: {guardrail}. This entity is not allowed to be used in this "
        "request."
    )
    return Refusal(400, "invalid_request_error", message, None, "blocked_entity")


#: Why texts could not be searched, where that is the client's to mend.
_UNSEARCHABLE = {
    "text_too_long": "a text is too long",
    "too_many_values": "it holds too many values to mask",
    "unknown_shape": "it has content of a kind that cannot be searched",
    "not_json": "it is not JSON",
}


def not_redacted(reason: str) -> Refusal:
    """A request whose texts must be redacted and could not be."""
    if (told := _UNSEARCHABLE.get(reason)) is not None:
        message = f"This request cannot be checked by the guardrail that holds for it: {told}."
        return Refusal(400, "invalid_request_error", message, None, f"redaction_{reason}")
    message = "The guardrail that holds for this request is not available."
    return Refusal(500, "internal_server_error", message, None, f"redaction_{reason}")


def stream_not_inspected(guardrails: str) -> Refusal:
    """A stream where a guardrail must see the answer whole."""
    message = f"Guardrail {guardrails} can only check whole answers: ask without 'stream'."
    return Refusal(400, "invalid_request_error", message, "stream", "stream_not_inspected")


def answer_not_redacted(reason: str) -> Refusal:
    """An answer whose texts must be redacted and could not be."""
    message = "The provider's answer cannot be checked by the guardrail that holds for this request."
    return Refusal(502, "provider_answer_refused", message, None, f"redaction_{reason}")


#: LiteLLM's sentences for a spent budget, by whose it is. `{spent}` and `{most}` are dollars.
_BUDGET_SENTENCES = {
    "api_key": "Budget has been exceeded! Key={who} Current cost: {spent}, Max budget: {most}",
    "team": "Budget has been exceeded! Team={who} Current cost: {spent}, Max budget: {most}",
    "user": "ExceededBudget: User={who} over budget. Spend={spent}, Budget={most}",
    "team_member": "Budget has been exceeded! TeamMember={who} Current cost: {spent}, Max budget: {most}",
    "end_user": "ExceededBudget: End User={who} over budget. Spend={spent}, Budget={most}",
    "tag": "Budget has been exceeded! Tag={who} Current cost: {spent}, Max budget: {most}",
    "model_per_key": "LiteLLM Virtual Key: {who}, exceeded budget for model",
    "model_per_team": "LiteLLM Team: {who}, exceeded budget for model",
    "global": "Budget has been exceeded! Current cost: {spent}, Max budget: {most}",
}
#: Of one window among several.
_WINDOW_SENTENCE = "ExceededBudget: {whose} over {window} budget. Spend=${spent}, Limit=${most}"
_WHOSE = {"api_key": "Key", "team": "Team"}
#: Holds are given back when an answer ends, so this is worth a short wait and no more.
_HELD_RETRY_SECONDS = 1


def budget_exceeded(why: Explanation, status: int) -> Refusal:
    """A budget that is spent, or of which too little is left: LiteLLM, which counts afterwards, has no such case.

    `why.setting` is `max_budget`, or `budget_limits:1h` for one window of several.
    """
    setting, _, window = why.setting.partition(":")
    told = {"who": why.who, "spent": dollars(why.settled), "most": dollars(why.maximum), "window": window}
    several = setting == "budget_limits" and why.kind in _WHOSE
    sentence = _WINDOW_SENTENCE if several else _BUDGET_SENTENCES[why.kind]
    message = sentence.format(whose=_WHOSE.get(why.kind, ""), **told)
    if why.settled < why.maximum:
        message += f". What was asked for may cost {dollars(why.asked)} more, which is not left"
    return Refusal(status, "budget_exceeded", message, None, "budget_exceeded", explanation=why)


def budget_held(why: Explanation) -> Refusal:
    """A budget that has room, but not while other requests hold what they may still spend. Ours; LiteLLM has none."""
    message = (
        f"Budget is reserved by requests in flight for {why.kind}: {why.who}. Current cost: {dollars(why.settled)}, "
        f"reserved: {dollars(why.held)}, Max budget: {dollars(why.maximum)}. Retry shortly."
    )
    headers = ((b"retry-after", str(_HELD_RETRY_SECONDS).encode()),)
    return Refusal(429, "throttling_error", message, None, "budget_held", headers, why)


def rate_limited(why: Explanation, now: UnixMs) -> Refusal:
    """Requests, tokens or places in parallel. `Retry-After` is when it will work, rounded up to whole seconds."""
    wait = _HELD_RETRY_SECONDS if why.frees_at is None else max(1, -(-(why.frees_at - now) // 1_000))
    resets = datetime.fromtimestamp(now // 1_000 + wait, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    remaining = max(0, why.maximum - why.settled - why.held)
    message = (
        f"Rate limit exceeded for {why.kind}: {why.who}. Limit type: {why.measure}. Current limit: {why.maximum}, "
        f"Remaining: {remaining}. Limit resets at: {resets}"
    )
    headers = (
        (b"retry-after", str(wait).encode()),
        (b"rate_limit_type", why.measure.encode()),
        (b"reset_at", resets.encode()),
    )
    return Refusal(429, "throttling_error", message, None, f"{why.measure}_limited", headers, why)


def dollars(nanos: Nanos) -> str:
    """The shortest exact decimal with at least one digit behind the point."""
    whole, rest = divmod(abs(nanos), NANOS_PER_DOLLAR)
    text = f"{whole}.{rest:09d}".rstrip("0") if rest else f"{whole}.0"
    return f"-{text}" if nanos < 0 else text
