"""Where clients come in: plaintext on loopback, TLS for everyone else; the same filters and routes behind both.

What is not plain HTTP is refused here, before anything else reads it: escaped slashes (a path must mean the same to
every check behind), underscores in header names (`x_extproc_…` must not become `x-extproc-…`), headers and bodies that
are too large or too slow. Internal headers of clients are removed *before* the first route is chosen, and cookies
before any filter that reads them, but for a login's. No address counts as internal, so `x-request-id` is always ours
and `x-envoy-*` of clients is dropped.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.common.mutation_rules import v3 as mutation_rules
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.extensions.filters.http.buffer import v3 as buffer
from envoy_data_plane.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from envoy_data_plane.envoy.extensions.filters.http.header_to_metadata import v3 as header_to_metadata
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early_mutation
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.envoyconfig import routes
from extproc.envoyconfig.access_log import access_log
from extproc.envoyconfig.processor_filter import INTERNAL_PREFIX, processor_filter
from extproc.envoyconfig.replies import local_replies
from extproc.envoyconfig.typed import add, add_if_absent, file, milliseconds, overwrite, seconds, socket, typed
from extproc.policy import destinations, hygiene
from extproc.settings.model import Layout, Settings

SERVER_NAME = "llm-extproc"
#: An empty list would mean "all private addresses"; this one is nobody's source address.
NOBODY = core.CidrRange(address_prefix="255.255.255.255", prefix_len=32)
CONNECTION_BUFFER_BYTES = 256 * 1024
#: More than the processor lets pass, which refuses in its own words and needs room for what it sets.
MAX_HEADERS = hygiene.MAX_HEADERS + 28
MAX_HEADERS_KIB = hygiene.MAX_HEADER_BYTES // 1024 + 4
MAX_CONCURRENT_STREAMS = 128
STREAM_WINDOW_BYTES = 256 * 1024
CONNECTION_WINDOW_BYTES = 1024 * 1024

#: On every response, Envoy's own included.
SECURITY_HEADERS = (
    overwrite("x-frame-options", "DENY"),
    overwrite("x-content-type-options", "nosniff"),
    add_if_absent("content-security-policy", "frame-ancestors 'none'"),
    add_if_absent("referrer-policy", "no-referrer"),
)
HSTS = overwrite("strict-transport-security", "max-age=31536000")


def listeners(settings: Settings, layout: Layout) -> list[listener.Listener]:
    """The listeners that have a port."""
    found = []
    if layout.http_port is not None:
        address = socket(layout.http_address, layout.http_port)
        found.append(_listener("http", address, settings, SECURITY_HEADERS, None))
    if layout.https_port is not None:
        address = socket(layout.https_address, layout.https_port)
        found.append(_listener("https", address, settings, (*SECURITY_HEADERS, HSTS), _tls(layout)))
    return found


def _listener(
    name: str,
    address: core.Address,
    settings: Settings,
    added: tuple[core.HeaderValueOption, ...],
    transport_socket: core.TransportSocket | None,
) -> listener.Listener:
    manager = _connection_manager(name, settings, added)
    chain = listener.FilterChain(
        name=name,
        filters=[listener.Filter(name="envoy.filters.network.http_connection_manager", typed_config=typed(manager))],
        transport_socket=transport_socket,
        transport_socket_connect_timeout=seconds(10),
    )
    return listener.Listener(
        name=name,
        address=address,
        filter_chains=[chain],
        per_connection_buffer_limit_bytes=CONNECTION_BUFFER_BYTES,
    )


def _connection_manager(
    name: str, settings: Settings, added: tuple[core.HeaderValueOption, ...]
) -> hcm.HttpConnectionManager:
    slashes = hcm.HttpConnectionManagerPathWithEscapedSlashesAction.REJECT_REQUEST
    return hcm.HttpConnectionManager(
        stat_prefix=name,
        codec_type=hcm.HttpConnectionManagerCodecType.AUTO,
        server_name=SERVER_NAME,
        route_config=routes.route_table(settings),
        http_filters=_filters(settings, added),
        access_log=[access_log(log_client=settings.log_requester_ip)],
        local_reply_config=local_replies(),
        early_header_mutation_extensions=[_first_of_all()],
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=slashes,
        use_remote_address=True,
        # For somebody on the loopback it would add the machine's address in the network: we add the peer ourselves.
        skip_xff_append=True,
        internal_address_config=hcm.HttpConnectionManagerInternalAddressConfig(cidr_ranges=[NOBODY]),
        generate_request_id=True,
        preserve_external_request_id=False,
        always_set_request_id_in_response=True,
        # A provider behind TLS must be told `https`, whatever the client used.
        scheme_header_transformation=core.SchemeHeaderTransformation(match_upstream=True),
        max_request_headers_kb=MAX_HEADERS_KIB,
        common_http_protocol_options=core.HttpProtocolOptions(
            idle_timeout=seconds(300),
            max_headers_count=MAX_HEADERS,
            headers_with_underscores_action=core.HttpProtocolOptionsHeadersWithUnderscoresAction.REJECT_REQUEST,
        ),
        http2_protocol_options=_http2(),
        request_headers_timeout=seconds(10),
        request_timeout=seconds(120),
        stream_idle_timeout=milliseconds(settings.stream_idle_timeout_ms),
    )


def _filters(settings: Settings, added: tuple[core.HeaderValueOption, ...]) -> list[hcm.HttpFilter]:
    """In the order of requests. Responses pass in reverse, so that the processor is spared our own headers."""
    mutations = header_mutation.Mutations(
        response_mutations=[mutation_rules.HeaderMutation(append=option) for option in added]
    )
    without_cookies = mutation_rules.HeaderMutation(remove="cookie")
    cookies = header_mutation.Mutations(request_mutations=[without_cookies])
    return [
        hcm.HttpFilter(
            name=routes.MUTATION_FILTER, typed_config=typed(header_mutation.HeaderMutation(mutations=mutations))
        ),
        # Off only where a route says so: nobody else behind reads them.
        hcm.HttpFilter(
            name=routes.COOKIE_FILTER, typed_config=typed(header_mutation.HeaderMutation(mutations=cookies))
        ),
        # On only where a route says so: the processor's routes are buffered by its own filter.
        hcm.HttpFilter(
            name=routes.BUFFER_FILTER,
            typed_config=typed(buffer.Buffer(max_request_bytes=routes.MANAGEMENT_BODY_BYTES)),
            disabled=True,
        ),
        processor_filter(settings),
        *([_remembered_address()] if settings.stored_schemes else []),
        hcm.HttpFilter(
            name="envoy.filters.http.router", typed_config=typed(router.Router(suppress_envoy_headers=True))
        ),
    ]


def _remembered_address() -> hcm.HttpFilter:
    """Where a stored model leads, kept for every attempt: the header goes with the first one."""
    namespace, name = destinations.METADATA
    rule = header_to_metadata.ConfigRule(
        header=destinations.ADDRESS_HEADER,
        on_header_present=header_to_metadata.ConfigKeyValuePair(metadata_namespace=namespace, key=name),
    )
    return hcm.HttpFilter(
        name="envoy.filters.http.header_to_metadata",
        typed_config=typed(header_to_metadata.Config(request_rules=[rule])),
    )


def _first_of_all() -> core.TypedExtensionConfig:
    """Without what is ours alone, and with the address of whom Envoy is connected with behind all forwarded ones."""
    internal = mutation_rules.HeaderMutationRemoveOnMatch(key_matcher=matcher.StringMatcher(prefix=INTERNAL_PREFIX))
    peer = add("x-forwarded-for", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%")
    mutation = early_mutation.HeaderMutation(
        mutations=[
            mutation_rules.HeaderMutation(remove_on_match=internal),
            mutation_rules.HeaderMutation(append=peer),
        ]
    )
    return core.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation", typed_config=typed(mutation)
    )


def _http2() -> core.Http2ProtocolOptions:
    return core.Http2ProtocolOptions(
        max_concurrent_streams=MAX_CONCURRENT_STREAMS,
        initial_stream_window_size=STREAM_WINDOW_BYTES,
        initial_connection_window_size=CONNECTION_WINDOW_BYTES,
    )


def _tls(layout: Layout) -> core.TransportSocket:
    certificate = tls.TlsCertificate(certificate_chain=file(layout.certificate), private_key=file(layout.private_key))
    version = tls.TlsParametersTlsProtocol
    context = tls.DownstreamTlsContext(
        common_tls_context=tls.CommonTlsContext(
            tls_params=tls.TlsParameters(
                tls_minimum_protocol_version=version.TLSv1_2, tls_maximum_protocol_version=version.TLSv1_3
            ),
            tls_certificates=[certificate],
            alpn_protocols=["h2", "http/1.1"],
        )
    )
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=typed(context))
