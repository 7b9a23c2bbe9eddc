"""Who is behind a name: the processor's workers, the management API, one cluster per provider host, and one for all
hosts that only stored models lead to.

Every Envoy worker keeps one HTTP/2 connection per endpoint, so a processor worker is an endpoint of its own: that, and
not the kernel, spreads the load. Envoy's circuit breakers (1024 by default) are raised, because every stream in flight
holds one request open here; limits are the processor's business. There is no active health check: a worker that dies is
noticed by the first stream that cannot be opened, which is tried on another one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.common.mutation_rules import v3 as mutation_rules
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.envoy.extensions.clusters.common.dns.v3 import DnsLookupFamily
from envoy_data_plane.envoy.extensions.clusters.dns import v3 as dns
from envoy_data_plane.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from envoy_data_plane.envoy.extensions.filters.http.upstream_codec import v3 as upstream_codec
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as http
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.envoy.type.metadata import v3 as metadata
from envoy_data_plane.google.protobuf import Any

from extproc.envoyconfig import processor_filter, routes
from extproc.envoyconfig.typed import exactly, file, milliseconds, pipe, seconds, socket, typed
from extproc.errors import ConfigError
from extproc.model import Upstream
from extproc.policy import destinations
from extproc.settings.model import Layout, Settings

#: Of requests, connections and pending ones: far above what one machine can hold.
AMPLE = 100_000
#: Retries need room of their own: Envoy's default of 3 at a time would turn one dead worker into refusals.
AMPLE_RETRIES = 1_000
BUFFER_BYTES = 256 * 1024
#: Of a response, like those of a request: 100 are usual, and the processor adds some.
MAX_HEADERS = 128
#: Below the idle timeouts usual among providers (60 s and more), so that they do not close what we are about to use.
UPSTREAM_IDLE_SECONDS = 50

_PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UPSTREAM_CODEC = hcm.HttpFilter(
    name="envoy.filters.http.upstream_codec", typed_config=typed(upstream_codec.UpstreamCodec())
)
_Type = cluster.ClusterDiscoveryType
_Version = tls.TlsParametersTlsProtocol


def clusters(settings: Settings, layout: Layout) -> list[cluster.Cluster]:
    """All clusters of the bootstrap. Raises `ConfigError` where two would have one name."""
    own = [_processor(layout.processor_sockets), _management(layout.management_sockets), _nowhere()]
    own += (_stored(scheme, layout.ca_bundle) for scheme in settings.stored_schemes)
    names = [*(each.name for each in own), *(upstream.name for upstream in settings.upstreams)]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two upstreams, or one of ours and one of yours, have the same name: {', '.join(doubled)}")
    return [*own, *(_provider(upstream, layout.ca_bundle) for upstream in settings.upstreams)]


def literal_ip(host: str) -> str | None:
    """The address in its canonical form if the host is one and not a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _processor(sockets: tuple[str, ...]) -> cluster.Cluster:
    return cluster.Cluster(
        name=processor_filter.CLUSTER,
        type=_Type.STATIC,
        connect_timeout=milliseconds(250),
        lb_policy=cluster.ClusterLbPolicy.LEAST_REQUEST,
        load_assignment=_endpoints(processor_filter.CLUSTER, [pipe(path) for path in sockets]),
        circuit_breakers=_ample(),
        outlier_detection=_without_the_dead(),
        typed_extension_protocol_options=_http2(),
    )


def _management(sockets: tuple[str, ...]) -> cluster.Cluster:
    return cluster.Cluster(
        name=routes.MANAGEMENT_CLUSTER,
        type=_Type.STATIC,
        connect_timeout=seconds(1),
        load_assignment=_endpoints(routes.MANAGEMENT_CLUSTER, [pipe(path) for path in sockets]),
        circuit_breakers=_ample(),
        outlier_detection=_without_the_dead(),
        # uvicorn closes an idle connection after 5 seconds.
        typed_extension_protocol_options={_PROTOCOL: typed(_http1(idle_seconds=4))},
    )


def _without_the_dead() -> cluster.OutlierDetection:
    """A worker that cannot be connected to gets no work for a moment."""
    return cluster.OutlierDetection(
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=1,
        base_ejection_time=seconds(2),
        interval=seconds(1),
        max_ejection_percent=50,
    )


def _nowhere() -> cluster.Cluster:
    """Where a request ends for which the processor chose nothing."""
    return cluster.Cluster(name=routes.NOWHERE_CLUSTER, type=_Type.STATIC)


def _provider(upstream: Upstream, ca_bundle: str) -> cluster.Cluster:
    encrypted = upstream.scheme == "https"
    static = upstream.unix_socket is not None or literal_ip(upstream.host) is not None
    provider = _away(upstream.name)
    provider.load_assignment = _endpoints(upstream.name, [_address(upstream)])
    provider.transport_socket = _tls(upstream.host, ca_bundle) if encrypted else None
    provider.typed_extension_protocol_options = {_PROTOCOL: typed(_spoken(upstream.scheme))}
    if static:
        provider.type = _Type.STATIC
    else:
        _resolve(provider)
    return provider


def _away(name: str) -> cluster.Cluster:
    """What all providers have in common."""
    return cluster.Cluster(
        name=name,
        connect_timeout=seconds(5),
        per_connection_buffer_limit_bytes=BUFFER_BYTES,
        circuit_breakers=_ample(),
    )


def _stored(scheme: str, ca_bundle: str) -> cluster.Cluster:
    """Any host: the processor names the address, which it has judged, and the name that the certificate must have.

    Envoy would choose the address where the client was redirected from, if there were one, for a request without the
    header: no route leads here without it. The listener copies it to the request's metadata (`listeners.py`).
    """
    spoken = _spoken(scheme)
    spoken.http_filters = [_without_internal_headers(), _UPSTREAM_CODEC]
    provider = _away(destinations.NAMES[scheme])
    provider.type, provider.lb_policy = _Type.ORIGINAL_DST, cluster.ClusterLbPolicy.CLUSTER_PROVIDED
    namespace, name = destinations.METADATA
    provider.original_dst_lb_config = cluster.ClusterOriginalDstLbConfig(
        metadata_key=metadata.MetadataKey(key=namespace, path=[metadata.MetadataKeyPathSegment(key=name)])
    )
    provider.upstream_connection_options = _kept_alive()
    if scheme == "https":
        spoken.upstream_http_protocol_options = core.UpstreamHttpProtocolOptions(
            auto_sni=True, auto_san_validation=True
        )
        # A session that one host handed out must never be resumed with another: nothing would be verified again.
        context = tls.UpstreamTlsContext(max_session_keys=0, common_tls_context=_verified(ca_bundle))
        provider.transport_socket = _encrypted(context)
    provider.typed_extension_protocol_options = {_PROTOCOL: typed(spoken)}
    return provider


def _without_internal_headers() -> hcm.HttpFilter:
    """The headers that led here go no further."""
    internal = mutation_rules.HeaderMutationRemoveOnMatch(
        key_matcher=matcher.StringMatcher(prefix=processor_filter.INTERNAL_PREFIX)
    )
    mutations = header_mutation.Mutations(request_mutations=[mutation_rules.HeaderMutation(remove_on_match=internal)])
    return hcm.HttpFilter(
        name=routes.MUTATION_FILTER, typed_config=typed(header_mutation.HeaderMutation(mutations=mutations))
    )


def _resolve(provider: cluster.Cluster) -> None:
    """All addresses are one endpoint: connections stay when one leaves the answer, and providers rotate theirs."""
    names = dns.DnsCluster(
        dns_lookup_family=DnsLookupFamily.ALL, respect_dns_ttl=True, all_addresses_in_single_endpoint=True
    )
    provider.cluster_type = cluster.ClusterCustomClusterType(name="envoy.clusters.dns", typed_config=typed(names))
    # A name that does not resolve is one provider's trouble; it must not keep the listeners shut.
    provider.wait_for_warm_on_init = False
    provider.upstream_connection_options = _kept_alive()


def _kept_alive() -> cluster.UpstreamConnectionOptions:
    return cluster.UpstreamConnectionOptions(
        tcp_keepalive=core.TcpKeepalive(keepalive_time=60, keepalive_interval=15, keepalive_probes=4)
    )


def _address(upstream: Upstream) -> core.Address:
    if upstream.unix_socket is not None:
        return pipe(upstream.unix_socket)
    return socket(literal_ip(upstream.host) or upstream.host, upstream.port)


def _endpoints(name: str, addresses: Iterable[core.Address]) -> endpoint.ClusterLoadAssignment:
    members = [endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=address)) for address in addresses]
    return endpoint.ClusterLoadAssignment(
        cluster_name=name, endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=members)]
    )


def _ample() -> cluster.CircuitBreakers:
    thresholds = cluster.CircuitBreakersThresholds(
        max_connections=AMPLE, max_pending_requests=AMPLE, max_requests=AMPLE, max_retries=AMPLE_RETRIES
    )
    return cluster.CircuitBreakers(thresholds=[thresholds])


def _http2() -> dict[str, Any]:
    explicit = http.HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=core.Http2ProtocolOptions())
    return {_PROTOCOL: typed(http.HttpProtocolOptions(explicit_http_config=explicit))}


def _http1(*, idle_seconds: int) -> http.HttpProtocolOptions:
    explicit = http.HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=core.Http1ProtocolOptions())
    return http.HttpProtocolOptions(explicit_http_config=explicit, common_http_protocol_options=_idle(idle_seconds))


def _spoken(scheme: str) -> http.HttpProtocolOptions:
    """With a provider behind TLS HTTP/2 or HTTP/1.1, as ALPN says; else HTTP/1.1."""
    if scheme == "http":
        return _http1(idle_seconds=UPSTREAM_IDLE_SECONDS)
    automatic = http.HttpProtocolOptionsAutoHttpConfig(
        http_protocol_options=core.Http1ProtocolOptions(), http2_protocol_options=core.Http2ProtocolOptions()
    )
    return http.HttpProtocolOptions(auto_config=automatic, common_http_protocol_options=_idle(UPSTREAM_IDLE_SECONDS))


def _idle(amount: int) -> core.HttpProtocolOptions:
    return core.HttpProtocolOptions(idle_timeout=seconds(amount), max_headers_count=MAX_HEADERS)


def _tls(host: str, ca_bundle: str) -> core.TransportSocket:
    """The certificate must be valid and the host's own. SNI carries names only, never addresses (RFC 6066 §3)."""
    address = literal_ip(host)
    kinds = tls.SubjectAltNameMatcherSanType
    san = tls.SubjectAltNameMatcher(
        san_type=kinds.DNS if address is None else kinds.IP_ADDRESS, matcher=exactly(address or host)
    )
    context = tls.UpstreamTlsContext(sni=host if address is None else "", common_tls_context=_verified(ca_bundle, san))
    return _encrypted(context)


def _verified(ca_bundle: str, *names: tls.SubjectAltNameMatcher) -> tls.CommonTlsContext:
    """An authority of the bundle's must vouch for one of these names; without one, for the name that is asked for."""
    return tls.CommonTlsContext(
        tls_params=tls.TlsParameters(
            tls_minimum_protocol_version=_Version.TLSv1_2, tls_maximum_protocol_version=_Version.TLSv1_3
        ),
        validation_context=tls.CertificateValidationContext(
            trusted_ca=file(ca_bundle), match_typed_subject_alt_names=list(names)
        ),
    )


def _encrypted(context: tls.UpstreamTlsContext) -> core.TransportSocket:
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=typed(context))
