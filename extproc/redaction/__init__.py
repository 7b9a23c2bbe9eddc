"""What must not leave, found and replaced; and put back where it may return. Pure: values in, values out.

::

    policy = Policy(request={"EMAIL_ADDRESS": Action.MASK}, response={})
    redactor = policy.compile(Direction.REQUEST, validators())      # once; shared by all exchanges
    vault = Placeholders(hash_key)                                   # one for each exchange
    redactor.redact(text, vault).text                                # "write to <EMAIL_ADDRESS_1>"
    Restorer(vault).restore(answer)                                  # whole, or feed() and flush()

Answers go through the redactor of `Direction.RESPONSE` first, on the same `Placeholders`, then through a `Restorer`:
what the answer's redaction masks is never put back.

`redact` may raise `Blocked`, `TextTooLong` and `TooManyValues`; the last two are failures, for which
`Policy.on_failure` says what to do.
"""

from extproc.errors import Blocked, TextTooLong
from extproc.redaction.catalog import ENTITIES, UnknownEntity
from extproc.redaction.custom import deny_list, recognizer
from extproc.redaction.extras import validators
from extproc.redaction.json_text import JsonStreamRedactor
from extproc.redaction.pattern import InvalidPattern
from extproc.redaction.placeholders import Placeholders, TooManyValues
from extproc.redaction.policy import Direction, OnFailure, Policy, check_name
from extproc.redaction.recognizer import Recognizer
from extproc.redaction.redactor import Redacted, Redactor
from extproc.redaction.restoring import Restorer
from extproc.redaction.scanner import Action
from extproc.redaction.secrets_recognizers import SECRETS
from extproc.redaction.streaming import Findings, Span, StreamRedactor

__all__ = [
    "ENTITIES",
    "SECRETS",
    "Action",
    "Blocked",
    "Direction",
    "Findings",
    "InvalidPattern",
    "JsonStreamRedactor",
    "OnFailure",
    "Placeholders",
    "Policy",
    "Recognizer",
    "Redacted",
    "Redactor",
    "Restorer",
    "Span",
    "StreamRedactor",
    "TextTooLong",
    "TooManyValues",
    "UnknownEntity",
    "check_name",
    "deny_list",
    "recognizer",
    "validators",
]
