"""Who serves which path: one virtual host, read from top to bottom, the first match counts.

::

    any path, declared too large    →  413
    API path + x-extproc-upstream   →  that provider        the processor has agreed and chosen
    the same + x-extproc-address    →  a stored model's     the processor has looked up where it is
    API path, POST                  →  nowhere: 503         asks the processor; the answer if it chose nothing
    API path, POST, with a query    →  400
    API path                        →  405
    management path                 →  management API       bodies are bounded
    path of a login                 →  management API       the only one that is sent cookies
    anything else                   →  404                  costs nobody anything

A provider is sent no query of the client's: it may hold a key, and could steer the provider past the checks. Envoy
cannot drop a query whole, so the parameters that SDKs send are removed by name, and any other is refused. A provider is
not told of the client's network either. Nothing is sent twice that a provider may have seen: only failures before the
first byte are tried again.
"""

from __future__ import annotations

import re

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.filters.http.buffer import v3 as buffer
from envoy_data_plane.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any

from extproc.envoyconfig import processor_filter, replies
from extproc.envoyconfig.typed import exactly, milliseconds, overwrite, pattern, seconds, typed
from extproc.model import Upstream
from extproc.policy import destinations, refusals
from extproc.policy.refusals import Refusal
from extproc.providers.api import Api
from extproc.providers.registry import APIS, speaks
from extproc.settings.model import MEBIBYTE, Settings

BUFFER_FILTER = "envoy.filters.http.buffer"
MUTATION_FILTER = "envoy.filters.http.header_mutation"
#: A header mutation, too: it takes cookies away.
COOKIE_FILTER = "extproc.cookies"
MANAGEMENT_CLUSTER = "management"
#: A cluster without endpoints.
NOWHERE_CLUSTER = "nowhere"
MANAGEMENT_BODY_BYTES = MEBIBYTE

#: Paths of the management API, as they are.
MANAGEMENT_PATHS = (
    *("/", "/models", "/v1/models", "/health", "/audit", "/metrics"),
    *("/openapi.json", "/docs", "/redoc"),
)
#: Paths of the management API, with everything below.
MANAGEMENT_FOLDERS = (
    *("/key/", "/user/", "/team/", "/organization/", "/customer/", "/end_user/", "/budget/", "/tag/", "/spend/"),
    *("/global/", "/model/", "/model_group/", "/v1/model/", "/v2/", "/models/", "/v1/models/", "/health/", "/audit/"),
    *("/docs/", "/redoc/", "/extproc/", "/guardrails/", "/session/"),
)
#: Paths of the management API that people's browsers come to when they log in.
LOGIN_PATHS = ("/sso/key/generate", "/sso/callback", "/sso/readiness", "/sso/cli/key")
#: One of several identity providers has an address of its own.
_OWN_CALLBACK = r"/sso/callback/[A-Za-z0-9_.-]{1,64}"

#: What SDKs add to paths (Azure's client; Anthropic's for what is beta), and no provider behind us needs: removed.
QUERY_REMOVED = ("api-version", "beta")

#: Facts about the client's network, the header that has done its work, and what some servers take for a better path or
#: method than the request's own: it would be asked on the operator's account, past every check.
_KEPT_FROM_PROVIDERS = (
    processor_filter.UPSTREAM_HEADER,
    *("x-original-url", "x-original-uri", "x-rewrite-url", "x-forwarded-path", "x-forwarded-prefix"),
    *("x-http-method-override", "x-http-method", "x-method-override"),
    "proxy-authorization",
    *("cookie", "forwarded", "via", "x-real-ip", "true-client-ip"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-client-cert"),
    *("x-envoy-external-address", "x-envoy-internal"),
)
#: A provider speaks about its own host here, and would be believed about ours.
_KEPT_FROM_CLIENTS = (
    *("set-cookie", "alt-svc", "strict-transport-security", "public-key-pins", "clear-site-data"),
    *("nel", "report-to", "reporting-endpoints", "x-powered-by"),
)


def route_table(settings: Settings) -> route.RouteConfiguration:
    """The whole table for these settings; the same on every listener."""
    routes = [
        _too_large_route(settings.max_request_bytes),
        *(
            _provider_route(upstream, api, settings)
            for upstream in settings.upstreams
            for api in APIS
            if any(each.upstream == upstream and speaks(each.provider, api.NAME) for each in settings.deployments)
        ),
        *(_stored_route(scheme, api, settings) for scheme in settings.stored_schemes for api in APIS),
        _undecided_route(),
        _with_query_route(),
        _wrong_method_route(),
        _management_route(),
        _login_route(),
        _unknown_route(),
    ]
    everything = route.VirtualHost(
        name="everything", domains=["*"], routes=routes, request_body_buffer_limit=settings.max_request_bytes
    )
    return route.RouteConfiguration(name="routes", virtual_hosts=[everything])


def paths_expression(*apis: Api) -> str:
    """The RE2 expression of the client paths of these APIs."""
    paths = (path for api in apis for path in api.PATHS)
    return "|".join(re.escape(path).replace(re.escape("{model}"), "[^/]+") for path in paths)


def management_expression() -> str:
    """The RE2 expression of the management API's paths."""
    return "|".join([*map(re.escape, MANAGEMENT_PATHS), *(re.escape(path) + ".*" for path in MANAGEMENT_FOLDERS)])


def _too_large_route(limit: int) -> route.Route:
    """Exact for a declared length; a body of unknown length is stopped while it arrives, about a buffer later."""
    beyond = envoy_type.Int64Range(start=limit + 1, end=2**63 - 1)
    return route.Route(
        name="too large",
        match=route.RouteMatch(prefix="/", headers=[route.HeaderMatcher(name="content-length", range_match=beyond)]),
        direct_response=_refused(replies.BODY_TOO_LARGE),
        response_headers_to_add=[replies.JSON],
    )


def _provider_route(upstream: Upstream, api: Api, settings: Settings) -> route.Route:
    found = _chosen_route(upstream.name, api, upstream.base_path, settings)
    assert found.route is not None
    found.route.host_rewrite_literal = destinations.authority(upstream)
    return found


def _stored_route(scheme: str, api: Api, settings: Settings) -> route.Route:
    """To where the processor says; without an address there is no such route. Envoy takes the host and the path out of
    these headers when it sends the request, so that they are removed after it (`clusters.py`)."""
    base_path = f"%REQ({destinations.BASE_PATH_HEADER})%"
    found = _chosen_route(destinations.NAMES[scheme], api, base_path, settings)
    assert found.match is not None
    assert found.route is not None
    for name in (destinations.ADDRESS_HEADER, destinations.AUTHORITY_HEADER):
        found.match.headers.append(route.HeaderMatcher(name=name, present_match=True))
    found.route.host_rewrite_header = destinations.AUTHORITY_HEADER
    return found


def _chosen_route(name: str, api: Api, base_path: str, settings: Settings) -> route.Route:
    """What all providers have in common; `name` is the cluster's and what the processor chooses."""
    chosen = route.HeaderMatcher(name=processor_filter.UPSTREAM_HEADER, string_match=exactly(name))
    return route.Route(
        name=f"{api.NAME} at {name}",
        match=_match(paths_expression(api), _POST, chosen),
        route=route.RouteAction(
            cluster=name,
            path_rewrite=base_path + api.UPSTREAM_PATH,
            # A stream may take as long as it likes, if only it goes on.
            timeout=seconds(0),
            idle_timeout=milliseconds(settings.stream_idle_timeout_ms),
            retry_policy=route.RetryPolicy(
                retry_on="connect-failure,refused-stream,reset-before-request", num_retries=1
            ),
        ),
        request_headers_to_remove=list(_KEPT_FROM_PROVIDERS),
        response_headers_to_remove=list(_KEPT_FROM_CLIENTS),
        typed_per_filter_config=processor_filter.asks_processor(),
    )


def _undecided_route() -> route.Route:
    plain = route.HeaderMatcher(name=":path", string_match=matcher.StringMatcher(safe_regex=pattern(_REMOVABLE_QUERY)))
    removed = [core.KeyValueMutation(remove=name) for name in QUERY_REMOVED]
    without_query = header_mutation.HeaderMutationPerRoute(
        mutations=header_mutation.Mutations(query_parameter_mutations=removed)
    )
    return route.Route(
        name="undecided",
        match=_match(paths_expression(*APIS), _POST, plain),
        # Not a direct response: those know no buffer limit of the route's, and the body is buffered on this one.
        route=route.RouteAction(cluster=NOWHERE_CLUSTER),
        typed_per_filter_config={MUTATION_FILTER: typed(without_query), **processor_filter.asks_processor()},
    )


def _with_query_route() -> route.Route:
    return route.Route(
        name="with a query",
        match=_match(paths_expression(*APIS), _POST),
        direct_response=_refused(replies.QUERY_REFUSED),
        response_headers_to_add=[replies.JSON],
    )


def _wrong_method_route() -> route.Route:
    return route.Route(
        name="wrong method",
        match=_match(paths_expression(*APIS)),
        direct_response=replies.direct(405, '{"detail":"Method Not Allowed"}'),
        response_headers_to_add=[replies.JSON, overwrite("allow", "POST")],
    )


def _management_route() -> route.Route:
    return _managed("management", management_expression())


def _login_route() -> route.Route:
    """What a login is recognized by when it comes back is a cookie of the browser's."""
    with_cookies = typed(route.FilterConfig(disabled=True))
    expression = "|".join([*map(re.escape, LOGIN_PATHS), _OWN_CALLBACK])
    return _managed("login", expression, **{COOKIE_FILTER: with_cookies})


def _managed(name: str, expression: str, **filters: Any) -> route.Route:
    bounded = buffer.BufferPerRoute(buffer=buffer.Buffer(max_request_bytes=MANAGEMENT_BODY_BYTES))
    return route.Route(
        name=name,
        match=_match(expression),
        route=route.RouteAction(
            cluster=MANAGEMENT_CLUSTER,
            timeout=seconds(60),
            # Another worker answers for one that is gone; nothing that a worker has heard is asked again.
            retry_policy=route.RetryPolicy(retry_on="connect-failure,reset-before-request", num_retries=2),
        ),
        typed_per_filter_config={BUFFER_FILTER: typed(bounded), **filters},
    )


def _unknown_route() -> route.Route:
    return route.Route(
        name="unknown",
        match=route.RouteMatch(prefix="/"),
        direct_response=replies.direct(404, '{"detail":"Not Found"}'),
        response_headers_to_add=[replies.JSON],
    )


def _refused(refusal: Refusal) -> route.DirectResponseAction:
    return replies.direct(refusal.status, refusals.envelope(refusal).decode())


def _match(expression: str, *headers: route.HeaderMatcher) -> route.RouteMatch:
    return route.RouteMatch(safe_regex=pattern(expression), headers=list(headers))


_POST = route.HeaderMatcher(name=":method", string_match=exactly("POST"))
#: A whole `:path` whose query, if any, holds nothing but removable parameters.
_REMOVABLE_QUERY = rf"[^?]*(\?(&?({'|'.join(map(re.escape, QUERY_REMOVED))})=[^&]*)*)?"
