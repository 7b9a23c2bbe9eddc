"""Which headers cross the gateway, and which never do.

Upstream: the client's credential, everything of ours, and cookies are removed; the provider's credential is set by us,
and a response that we must read may not be compressed. Downstream: what tells of the operator's account with the
provider is removed or renamed as LiteLLM renames it (`llm_provider-…`), and what can be known of the exchange is added
under LiteLLM's names. What hardly differs from one exchange to the next is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import chain

from extproc import __version__
from extproc.events import Header
from extproc.holds import ROLLING_MS, Limit, Measure, Span
from extproc.model import Deployment, Key, Nanos
from extproc.policy import refusals
from extproc.policy.credentials import CREDENTIAL_HEADERS
from extproc.policy.refusals import Refusal

#: Removed from every request, whether or not we were shown them (the filter does not show us cookies).
_ALWAYS_REMOVED = (
    *(b"cookie", b"x-litellm-tags", b"openai-organization", b"openai-project"),
    *(b"anthropic-workspace-id", b"anthropic-user-profile-id"),
)
_OURS = (b"x-extproc-", b"x-litellm-")
_OF_A_BODY = frozenset({b"content-encoding", b"content-type"})
#: Facts about the operator's account at the provider are nobody else's business.
_ACCOUNT_HEADERS = frozenset({b"set-cookie", b"openai-organization", b"openai-project", b"anthropic-organization-id"})
_RENAMED = (b"x-ratelimit-", b"anthropic-ratelimit-", b"x-request-id", b"retry-after-ms")
#: Of a request, as we see it: pseudo-headers and Envoy's own are among them, cookies are not. Envoy lets in a few more,
#: so that what is set here always finds room: a change that does not fit would end the request as a fault of ours.
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
#: Sets of headers that are kept. A client's text is in some of them, so there must be an end of them.
KEPT = 1024


def check_headers(headers: Collection[Header]) -> Refusal | None:
    """Refuse more headers than we can work with, and a body that is not what we can read: compressed, or not JSON."""
    if len(headers) > MAX_HEADERS or sum(map(len, chain.from_iterable(headers))) > MAX_HEADER_BYTES:
        return refusals.HEADERS_TOO_LARGE
    for name, value in headers:
        if name not in _OF_A_BODY:
            continue
        if name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            return refusals.COMPRESSED_BODY
        if name == b"content-type" and value.partition(b";")[0].strip().lower() != b"application/json":
            return refusals.UNSUPPORTED_MEDIA_TYPE
    return None


def tags(value: bytes) -> tuple[str, ...]:
    """LiteLLM's `x-litellm-tags`: comma-separated, at most 32 of at most 128 characters."""
    names = (tag.strip()[:128] for tag in value.decode("utf-8", "replace").split(",")[:32])
    return tuple(tag for tag in names if tag)


def upstream_headers(
    seen: Iterable[Header],
    credential: Header | None,
    upstream: str,
    body_length: int,
    mapped: tuple[bytes, ...] = (),
    usual: tuple[Header, ...] = (),
) -> tuple[tuple[Header, ...], tuple[bytes, ...]]:
    """What to set and what to remove on the way to the provider.

    `credential` is the provider's header, `None` for a provider without one; `upstream` is what selects the route;
    `mapped` are headers that say who the client's user is; `usual` is what the provider must be told in any case.
    """
    own = credential[0] if credential else b""
    ours = [name for name, _ in seen if name[:1] == b"x" and name.startswith(_OURS)]
    removed = _removed_upstream(own, frozenset(ours), mapped) if ours else _removed_upstream(own, mapped=mapped)
    set_headers: tuple[Header, ...] = (
        (b"x-extproc-upstream", upstream.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(body_length).encode()),
        (b"accept-encoding", b"identity"),
    )
    if usual:
        told = {name for name, _ in seen}
        set_headers += tuple([header for header in usual if header[0] not in told])
    return (*set_headers, credential) if credential else set_headers, removed


def downstream_headers(
    seen: Iterable[Header], call_id: str, deployment: Deployment, model_group: str, key: Key
) -> tuple[tuple[Header, ...], tuple[bytes, ...]]:
    """What to set and what to remove on the way to the client."""
    set_headers = [
        (b"x-litellm-call-id", call_id.encode()),
        *_deployment_headers(deployment.id, deployment.api_base, model_group),
        *_key_headers(key.rpm_limit, key.tpm_limit, key.max_budget),
    ]
    removed = []
    for name, value in seen:
        if name in _ACCOUNT_HEADERS:
            removed.append(name)
        elif name.startswith(_RENAMED):
            set_headers.append((b"llm_provider-" + name, value))
            removed.append(name)
    return tuple(set_headers), tuple(removed)


def limit_headers(left: Iterable[tuple[Limit, int]], *, alone: bool) -> tuple[Header, ...]:
    """What is left of each rate: LiteLLM's name for each of them, OpenAI's for the one with the least left.

    A rolling minute is all there again a minute after its last use, and this request is a use.
    """
    headers: dict[bytes, bytes] = {b"x-extproc-outage": b"counters"} if alone else {}
    least: dict[Measure, tuple[int, int]] = {}
    for limit, remaining in left:
        measure, maximum = limit.measure, limit.maximum
        if measure is Measure.SPEND or not limit.enforced:
            continue
        name_of_limit, name_of_remaining = _rate_names(limit.scope.kind, measure)
        headers[name_of_limit] = b"%d" % maximum
        headers[name_of_remaining] = b"%d" % remaining
        if limit.span is Span.ROLLING and (measure not in least or (remaining, maximum) < least[measure]):
            least[measure] = remaining, maximum
    for measure, (remaining, maximum) in least.items():
        for word, value in (("limit", maximum), ("remaining", remaining), ("reset", f"{ROLLING_MS // 1000}s")):
            headers[f"x-ratelimit-{word}-{measure}".encode()] = str(value).encode()
    return tuple(headers.items())


def redaction_headers(found: Mapping[tuple[str, str, str], int], failed: str) -> tuple[Header, ...]:
    """What was found in the request, by entity: `EMAIL_ADDRESS=2, CREDIT_CARD=1`; and whether it passed unsearched."""
    counts: dict[str, int] = {}
    for (_, entity, _), count in found.items():
        counts[entity] = counts.get(entity, 0) + count
    told = ", ".join(f"{entity}={count}" for entity, count in sorted(counts.items()))
    headers = ((b"x-extproc-redactions", printable(told or "none")),)
    return (*headers, (b"x-extproc-redaction-failed", failed.encode())) if failed else headers


def refusal_headers(call_id: str) -> tuple[Header, ...]:
    """What a refused client is told beside the body."""
    return ((b"content-type", b"application/json"), (b"x-litellm-call-id", call_id.encode()))


@lru_cache(KEPT)
def _rate_names(kind: str, measure: Measure) -> tuple[bytes, bytes]:
    """LiteLLM's names for a limit and what is left of it."""
    return f"x-ratelimit-{kind}-limit-{measure}".encode(), f"x-ratelimit-{kind}-remaining-{measure}".encode()


@lru_cache(KEPT)
def _removed_upstream(
    own: bytes, ours: frozenset[bytes] = frozenset(), mapped: tuple[bytes, ...] = ()
) -> tuple[bytes, ...]:
    """`ours` are names that the client sent; `own` is the header that the provider's credential is in."""
    return tuple(sorted({*CREDENTIAL_HEADERS, *_ALWAYS_REMOVED, *ours, *mapped} - {own}))


@lru_cache(KEPT)
def _deployment_headers(model_id: str, api_base: str, model_group: str) -> tuple[Header, ...]:
    return (
        (b"x-litellm-model-id", model_id.encode()),
        (b"x-litellm-model-api-base", api_base.encode()),
        (b"x-litellm-model-group", printable(model_group)),
        (b"x-litellm-version", f"llm-extproc/{__version__}".encode()),
    )


@lru_cache(KEPT)
def _key_headers(rpm_limit: int | None, tpm_limit: int | None, max_budget: Nanos | None) -> tuple[Header, ...]:
    """Limits of the key, where they are; absent values are omitted, as in LiteLLM."""
    values = (
        (b"x-litellm-key-rpm-limit", rpm_limit),
        (b"x-litellm-key-tpm-limit", tpm_limit),
        (b"x-litellm-key-max-budget", None if max_budget is None else refusals.dollars(max_budget)),
    )
    return tuple([(name, str(value).encode()) for name, value in values if value is not None])


def printable(text: str) -> bytes:
    """A client's text as a header value: anything but visible ASCII and spaces becomes `?`."""
    return text[:256].encode("ascii", "replace").translate(_PRINTABLE)


_PRINTABLE = bytes(byte if 32 <= byte <= 126 else ord("?") for byte in range(256))
