"""The ext_proc filter: what the processor sees, what it may change, and what happens when it is not there.

The rules of the wire that decide these values are tested against Envoy itself. The processor may change only the
headers in `MUTABLE`; anything else it tried would end the request with an error, never with a half-applied change.
`:path`, `:authority` and `:method` are not among them, so no bug of the processor's can lead a request elsewhere than
to the routes of this bootstrap. It may choose among those: it sets `UPSTREAM_HEADER` and asks for a new route.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from envoy_data_plane.envoy.config.common.mutation_rules import v3 as mutation_rules
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any

from extproc.envoyconfig.typed import exactly, milliseconds, pattern, typed
from extproc.policy.credentials import CREDENTIAL_HEADERS
from extproc.settings.model import Settings

FILTER = "envoy.filters.http.ext_proc"
CLUSTER = "extproc"
#: Every request header that starts so is ours alone: a client's is removed before anything reads it.
INTERNAL_PREFIX = "x-extproc-"
#: Set by the processor, never by a client; its value is an upstream's name and selects the route.
UPSTREAM_HEADER = "x-extproc-upstream"

#: What the processor may set or remove, in either direction; a trailing `*` stands for any ending.
MUTABLE = (
    *sorted(name.decode() for name in CREDENTIAL_HEADERS),
    "accept-encoding",
    "anthropic-organization-id",
    "anthropic-ratelimit-*",
    "anthropic-user-profile-id",
    "anthropic-version",
    "anthropic-workspace-id",
    "content-length",
    "content-type",
    "cookie",
    "llm_provider-*",
    "openai-organization",
    "openai-project",
    "rate_limit_type",
    "reset_at",
    "retry-after*",
    "set-cookie",
    "x-extproc-*",
    "x-litellm-*",
    "x-ratelimit-*",
    "x-request-id*",
)
#: Cookies are nothing that the processor could use, and it cannot leak what it never saw. The others it does not use
#: either, and each header costs it time; there is one of each at most, so hiding them hides no flood of headers.
HIDDEN = ("cookie", ":authority", ":method", ":scheme", "content-length", "x-forwarded-proto")

_Headers = ext_proc.ProcessingModeHeaderSendMode
_Body = ext_proc.ProcessingModeBodySendMode


def processor_filter(settings: Settings) -> hcm.HttpFilter:
    """The filter. It is off except on routes that carry `asks_processor()`.

    Off by default is the safe side here: no route leads to a provider without the processor's header. And it spares the
    processor a stream for every malformed request, which has no route and would lose its 400 while the stream opens.
    """
    mode = _mode(_Body.STREAMED)
    processor = ext_proc.ExternalProcessor(
        grpc_service=_service(),
        failure_mode_allow=False,
        status_on_error=envoy_type.HttpStatus(code=envoy_type.StatusCode(503)),
        message_timeout=milliseconds(settings.message_timeout_ms),
        processing_mode=mode,
        # An override replaces both body modes, so only these may ever be asked for: as configured, without the rest of
        # the response's body, or with all of it at once.
        allow_mode_override=True,
        allowed_override_modes=[mode, _mode(_Body.NONE), _mode(_Body.BUFFERED)],
        mutation_rules=_mutation_rules(settings.mapped_headers),
        forward_rules=ext_proc.HeaderForwardingRules(
            disallowed_headers=matcher.ListStringMatcher(patterns=[exactly(name) for name in HIDDEN])
        ),
        request_attributes=["source.address"],
        # DEFAULT: a new route is chosen when, and only when, the processor asks for it.
        route_cache_action=ext_proc.ExternalProcessorRouteCacheAction.DEFAULT,
        stat_prefix=CLUSTER,
    )
    return hcm.HttpFilter(name=FILTER, typed_config=typed(processor), disabled=True)


def asks_processor() -> dict[str, Any]:
    """`typed_per_filter_config` of a route on which the processor decides."""
    return {FILTER: typed(ext_proc.ExtProcPerRoute(overrides=ext_proc.ExtProcOverrides()))}


def mutable_expression(names: Iterable[str] = MUTABLE) -> str:
    """The RE2 expression that matches exactly the header names that may change."""
    return "|".join(re.escape(name.rstrip("*")) + (".*" if name.endswith("*") else "") for name in names)


def _mode(response_body: ext_proc.ProcessingModeBodySendMode) -> ext_proc.ProcessingMode:
    """The request's body is buffered, so that nothing reaches a provider before the verdict."""
    return ext_proc.ProcessingMode(
        request_header_mode=_Headers.SEND,
        request_body_mode=_Body.BUFFERED,
        request_trailer_mode=_Headers.SKIP,
        response_header_mode=_Headers.SEND,
        response_body_mode=response_body,
        response_trailer_mode=_Headers.SKIP,
    )


def _service() -> core.GrpcService:
    """Retries concern the start of a stream only: a worker that is gone or restarting is passed over unnoticed."""
    return core.GrpcService(
        envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=CLUSTER, authority=CLUSTER),
        retry_policy=core.RetryPolicy(
            retry_on="connect-failure,refused-stream,reset,unavailable",
            num_retries=2,
            retry_back_off=core.BackoffStrategy(base_interval=milliseconds(25), max_interval=milliseconds(250)),
        ),
    )


def _mutation_rules(mapped: Iterable[str]) -> mutation_rules.HeaderMutationRules:
    """`mapped` are headers that the processor takes out because the configuration says so."""
    expression = mutable_expression((*MUTABLE, *mapped))
    return mutation_rules.HeaderMutationRules(
        disallow_all=True, allow_expression=pattern(expression), disallow_is_error=True
    )
