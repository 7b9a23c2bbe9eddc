"""Envoy's access log: one JSON line per request on stderr, joined with the processor's line by `request_id`.

The path is logged without its query, and no header that may carry a credential is logged at all. `flags` and `details`
tell what the processor cannot know: who hung up, why a provider was not reached.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.access_loggers.stream import v3 as stream
from envoy_data_plane.google.protobuf import Struct

from extproc.envoyconfig.typed import typed

FIELDS = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "listener": "%FILTER_CHAIN_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "route": "%ROUTE_NAME%",
    "upstream": "%UPSTREAM_CLUSTER%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "upstream_attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "request_ms": "%REQUEST_DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "tls": "%DOWNSTREAM_TLS_VERSION%",
}
CLIENT = {"client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}


def access_log(*, log_client: bool) -> accesslog.AccessLog:
    """The logger. `log_client` is whether the client's address may be written down."""
    fields = FIELDS | CLIENT if log_client else FIELDS
    line = core.SubstitutionFormatString(json_format=Struct.from_dict(fields), omit_empty_values=True)
    return accesslog.AccessLog(
        name="envoy.access_loggers.stderr", typed_config=typed(stream.StderrAccessLog(log_format=line))
    )
