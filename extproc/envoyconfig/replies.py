"""What Envoy itself says, in the shape that clients of LiteLLM read: an error envelope, always JSON.

Envoy's own sentences name addresses and reasons of the inside, so none of them reaches a client; the access log has
them. A refusal of the processor's and a direct response are local replies too, and already right: the first mapper of
the table recognises them by their details and leaves them alone. The first that matches counts.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel import v3 as cel
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

from extproc.envoyconfig.typed import overwrite, text, typed
from extproc.policy import refusals
from extproc.policy.refusals import Refusal

#: Details of what must pass as it is: the processor's refusals (`extproc_…`) and direct responses.
OURS = 'response.code_details.startsWith("extproc_") || response.code_details == "direct_response"'

BODY_TOO_LARGE = Refusal(
    413, "invalid_request_error", "The request body is too large.", "request_body", "body_too_large"
)
QUERY_REFUSED = Refusal(400, "invalid_request_error", "This path takes no query parameters.", "query", "query_refused")

#: What is said instead of Envoy's own words, by status.
SAID: tuple[Refusal, ...] = (
    Refusal(400, "invalid_request_error", "The request is not valid HTTP.", None, "invalid_http"),
    Refusal(
        403,
        "invalid_request_error",
        "Neither protocol upgrades nor https without TLS are allowed.",
        None,
        "not_allowed",
    ),
    refusals.UNKNOWN_ROUTE,
    Refusal(408, "timeout_error", "The request was not received in time.", None, "request_timeout"),
    BODY_TOO_LARGE,
    Refusal(426, "invalid_request_error", "HTTP/1.1 or HTTP/2 is required.", None, "old_protocol"),
    refusals.HEADERS_TOO_LARGE,
    Refusal(500, "internal_server_error", refusals.NOT_PROCESSED.message, None, "not_processed"),
    Refusal(501, "invalid_request_error", "This transfer-encoding is not supported.", None, "unknown_encoding"),
    Refusal(502, "api_error", "The provider's answer is not valid HTTP.", None, "invalid_response"),
    Refusal(503, "service_unavailable", "The service is temporarily unavailable. Please retry.", None, "unavailable"),
    Refusal(504, "timeout_error", "The request timed out.", None, "timeout"),
)

JSON = overwrite("content-type", "application/json")


def local_replies() -> hcm.LocalReplyConfig:
    """Envoy's replies, reworded."""
    ours = accesslog.AccessLogFilter(
        extension_filter=accesslog.ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel", typed_config=typed(cel.ExpressionFilter(expression=OURS))
        )
    )
    return hcm.LocalReplyConfig(mappers=[hcm.ResponseMapper(filter=ours), *(_reworded(refusal) for refusal in SAID)])


def direct(status: int, body: str) -> route.DirectResponseAction:
    """A fixed answer; the route that gives it adds `JSON`."""
    return route.DirectResponseAction(status=status, body=text(body))


def _reworded(refusal: Refusal) -> hcm.ResponseMapper:
    body = core.SubstitutionFormatString(
        text_format_source=text(refusals.envelope(refusal).decode()), content_type="application/json"
    )
    return hcm.ResponseMapper(filter=_status(refusal.status), body_format_override=body)


def _status(status: int) -> accesslog.AccessLogFilter:
    comparison = accesslog.ComparisonFilter(
        op=accesslog.ComparisonFilterOp.EQ,
        # Envoy wants a runtime key; nothing ever sets this one.
        value=core.RuntimeUInt32(default_value=status, runtime_key=f"llm_extproc.local_reply.{status}"),
    )
    return accesslog.AccessLogFilter(status_code_filter=accesslog.StatusCodeFilter(comparison=comparison))
