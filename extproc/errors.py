"""The exceptions of the project, and whose fault each one is.

::

    ExtprocError
    ├── ConfigError         the operator: a setting is wrong; carries file, line and column
    ├── SecretUnavailable   the operator: a secret reference leads nowhere; never carries the value
    ├── MalformedBody       the client: its body cannot be understood
    ├── StoreUnavailable    the surroundings: a store did not answer in time
    ├── UnknownShape        the client, or its provider: content that cannot be searched where it must be
    ├── RedactionFailed     whoever: what must be redacted could not be
    │   └── InspectionFailed    the surroundings: who finds names and places did not answer, not in time, or nonsense
    ├── OutboxFull          the surroundings: no room is left to promise a receipt
    ├── Blocked             the client, or the provider: a text has what the policy does not let through
    ├── TextTooLong         the client, or the provider: a text is longer than what may be searched
    ├── LoginFailed         whoever logs in, or the identity provider: it is not proven who somebody is
    ├── AlreadyExists       the caller of the management API: a unique name is taken
    ├── StreamEnded         nobody: a stream was told that its budget is gone, and ends here
    └── ProtocolError       Envoy: a message that the phase does not allow

Most things that go wrong on the data path are *refusals*, which are values: see `policy/refusals.py`.
"""

from __future__ import annotations


class ExtprocError(Exception):
    """Anything this project raises on purpose."""


class ConfigError(ExtprocError):
    """A setting is wrong. `str()` is one clear line per problem, `FILE:LINE:COLUMN: …` where a file is to blame."""


class SecretUnavailable(ExtprocError):
    """A secret reference (`os.environ/NAME`, `file/PATH`) cannot be resolved. Names the reference, never the value."""


class MalformedBody(ExtprocError):
    """A client's body cannot be understood.

    `status` is the HTTP status that fits (400, 413 or 415); `param` names the field at fault, as in OpenAI's errors.
    """

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status


class StoreUnavailable(ExtprocError):
    """A store did not answer, or not in time. Nothing is known about whether a write took place, unless it was not even
    `asked`."""

    def __init__(self, store: str, reason: str, *, asked: bool = True) -> None:
        super().__init__(f"{store}: {reason}")
        self.store = store
        self.reason = reason
        self.asked = asked


class OutboxFull(ExtprocError):
    """The disk has no room for further receipts, so no further exchange may be admitted."""


class Blocked(ExtprocError):
    """A text has an `entity` that the redaction policy blocks. The value itself is nowhere in the error.

    `passed` is what of a stream may still go on: what came before.
    """

    passed = b""

    def __init__(self, entity: str) -> None:
        super().__init__(f"{entity} is not allowed")
        self.entity = entity


class TextTooLong(ExtprocError):
    """A text is longer than what may be searched, so it may not pass. Lengths are in characters."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"a text of {length} characters is longer than {limit}")
        self.length = length
        self.limit = limit


class UnknownShape(ExtprocError):
    """A payload has content of a shape that cannot be searched. `str()` says which, and quotes nothing of it."""


class RedactionFailed(ExtprocError):
    """Texts that must be redacted could not be. `reason` is a word from a closed set, safe as a metric label.

    `passed` is what of a stream may still go on: what came before.
    """

    passed = b""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InspectionFailed(RedactionFailed):
    """Who is asked about texts, beside our own engine, gave no answer that can be used."""


class LoginFailed(ExtprocError):
    """Nobody is logged in. `reason` is a word of `policy.sso.Reason`; nothing that anybody sent is in the error."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AlreadyExists(ExtprocError):
    """A unique name is taken already. `field` says which one, `value` what it was."""

    def __init__(self, field: str, value: str) -> None:
        super().__init__(f"{field} {value!r} exists already")
        self.field = field
        self.value = value


class StreamEnded(ExtprocError):
    """The client has been told why its stream ends. The RPC is aborted, so Envoy resets the client and the provider."""


class ProtocolError(ExtprocError):
    """Envoy sent what the phase of the exchange does not allow. The RPC is aborted, so Envoy fails closed."""
