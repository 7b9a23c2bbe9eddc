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
from extproc.policy.sso import Reason

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
NOT_YOURS = Refusal(
    403, "auth_error", "You are not allowed to see this. A key may ask about its own team and user.", None, "not_yours"
)
NOT_FOR_OTHERS = Refusal(
    403,
    "auth_error",
    "You can only create keys for yourself. Only the proxy admin makes keys for others.",
    "user_id",
    "not_for_others",
)
NOT_A_MEMBER = Refusal(400, "bad_request_error", "User not found in team", "user_id", "not_a_member")
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


def admin_only(path: str, role: str) -> Refusal:
    """What this role may not do."""
    message = (
        "Only proxy admin can be used to generate, delete, update info for new keys/users/teams. "
        f"Route={path}. Your role={role}."
    )
    return Refusal(401, "auth_error", message, None, "admin_only")


def administrators_field(name: str) -> Refusal:
    """A field that raises, or takes away, what only the administrator gives."""
    return Refusal(403, "auth_error", f"Only the proxy admin sets {name} here.", name, "administrators_field")


def team_permission(route: str) -> Refusal:
    """What a member of a team may not do with its keys."""
    message = f"Team member does not have permissions for endpoint: {route}. Ask for it in team_member_permissions."
    return Refusal(401, "team_member_permission_error", message, None, "team_permission")


def unknown_model(model: str) -> Refusal:
    """A model that does not exist, or that the key may not see: the same words for both."""
    message = f"The model '{model}' does not exist or is not available for this API key."
    return Refusal(404, "invalid_request_error", message, "model", "unknown_model")


#: By the field that is taken: status, type, the field's name in requests, and the sentence.
_TAKEN = {
    "key_alias": (
        *(400, "bad_request_error", "key_alias"),
        "Key with alias '{}' already exists. Unique key aliases across all keys are required.",
    ),
    "key": (400, "bad_request_error", "key", "Key already exists. Change it with /key/update, or delete it first."),
    "team_id": (400, "bad_request_error", "team_id", "Team id = {} already exists. Please use a different team id."),
    "user_id": (409, "bad_request_error", "user_id", "User with id {} already exists"),
    "user_email": (409, "bad_request_error", "user_email", "User with email {} already exists"),
    "end_user_id": (
        *(400, "bad_request", "user_id"),
        "Customer already exists, passed user_id={}. Please pass a new user_id.",
    ),
    "name": (400, "bad_request_error", "name", "Tag {} already exists"),
    "budget_id": (400, "bad_request_error", "budget_id", "Budget id = {} already exists."),
    "model_id": (400, "bad_request_error", "model_info.id", "Model id = {} already exists."),
    "member": (400, "team_member_already_in_team", "member", "User {} is already in this team."),
}
#: What is looked for, its type of error where it is not there, the field that names it, and the sentence.
_MISSING = {
    "team": ("not_found_error", "team_id", "Team not found, passed team id: {}."),
    "user": ("not_found_error", "user_id", "User {} not found"),
    "end_user": ("not_found", "user_id", "End User Id={} does not exist in db"),
    "tag": ("not_found_error", "name", "Tag {} not found"),
    "guardrail": ("not_found_error", "guardrail_name", "Guardrail not found: {}"),
    "model": ("not_found_error", "id", "Model with id={} not found among those that are stored"),
    "request": ("not_found_error", "request_id", "Request not found, request_id={}"),
}


_AGAIN = "Begin again at /sso/key/generate."
#: What somebody is told who is not logged in: a status and a sentence. Nothing that anybody sent is repeated.
_LOGINS: dict[str, tuple[int, str]] = {
    Reason.NOT_CONFIGURED: (404, "Single sign-on is not configured: see general_settings.sso_providers."),
    Reason.UNKNOWN_PROVIDER: (404, "No identity provider of this name is configured."),
    Reason.CHOOSE_PROVIDER: (400, "There are several identity providers: name one with ?provider=."),
    Reason.BAD_REQUEST: (400, "This is no answer to a login, or no request for one."),
    Reason.NO_ATTEMPT: (403, f"This browser has not begun a login, or did not keep the cookie of it. {_AGAIN}"),
    Reason.WRONG_STATE: (403, f"This answer belongs to another login. {_AGAIN}"),
    Reason.EXPIRED: (403, f"The login took too long. {_AGAIN}"),
    Reason.REPLAYED: (403, f"This login was used already. {_AGAIN}"),
    Reason.DECLINED: (403, "The identity provider did not let you in, or you declined."),
    Reason.CODE_REFUSED: (403, f"The identity provider does not know this answer, or not any more. {_AGAIN}"),
    Reason.BAD_TOKEN: (403, "What the identity provider says cannot be verified."),
    Reason.NO_ADDRESS: (403, "The identity provider tells no e-mail address of you."),
    Reason.UNVERIFIED_ADDRESS: (403, "The identity provider does not vouch for your e-mail address."),
    Reason.WRONG_DOMAIN: (403, "Your e-mail address is of no domain that may log in here."),
    Reason.GUEST: (403, "Guests of the organization may not log in here."),
    Reason.AMBIGUOUS_ACCOUNT: (403, "Several accounts could be yours; ask the administrator."),
    Reason.LINKED_ELSEWHERE: (403, "The account of your e-mail address is linked to another identity."),
    Reason.USER_BLOCKED: (403, "Your account is blocked."),
    Reason.USER_GONE: (403, "Your account does not exist any more."),
    Reason.ADMINS_ONLY: (403, "Only administrators may log in here."),
    Reason.NOT_AVAILABLE: (503, "Single sign-on is not fully configured; tell the gateway's operator."),
    Reason.PROVIDER_DOWN: (503, "The identity provider does not answer. Please retry shortly."),
    Reason.PROVIDER_ANSWER: (502, "The identity provider's answer makes no sense; tell the gateway's operator."),
}


def login_refused(reason: str) -> Refusal:
    """Why nobody is logged in."""
    status, sentence = _LOGINS[reason]
    headers = ((b"retry-after", b"5"),) if status == 503 else ()
    return Refusal(status, "auth_error", sentence, None, reason, headers)


def too_many_logins(wait_ms: int) -> Refusal:
    """What anyone may ask for, asked for too often."""
    headers = ((b"retry-after", str(-(-wait_ms // 1_000)).encode()),)
    message = "Too many logins from here, or in all. Please retry later."
    return Refusal(429, "throttling_error", message, None, "too_many_logins", headers)


def already_exists(error: AlreadyExists) -> Refusal:
    """A taken name."""
    status, kind, param, sentence = _TAKEN[error.field]
    return Refusal(status, kind, sentence.format(error.value), param, "already_exists")


def not_found(what: str, name: str) -> Refused:
    """A `team`, `user`, `end_user`, `tag`, `guardrail`, `model` or `request` that does not exist."""
    kind, param, sentence = _MISSING[what]
    return Refused(Refusal(404, kind, sentence.format(name), param, f"{what}_not_found"))


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
