"""The bootstraps of all arms, made from the one that llm-extproc renders, so that nothing else differs.

llm-extproc's own arm gets it as it is, without the TLS listener, to which nothing connects. Bare Envoy is the same
without the processor's filter. The no-op arm keeps the filter with every setting, and points the processor's cluster
at another socket. Neither of these two is told where to go by a processor, so in both every request takes the
upstream's own route for chat completions, with everything that is set on it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

FILTER = "envoy.filters.http.ext_proc"


class Rendered:
    """llm-extproc's bootstrap; `port` is its plaintext listener's, `upstream_port` the upstream's."""

    def __init__(self, bootstrap: dict[str, Any], port: int, upstream_port: int) -> None:
        self._bootstrap = bootstrap
        self._port = port
        self._upstream = _cluster_with(bootstrap, "port_value", upstream_port)

    @property
    def processor_socket(self) -> str:
        """Where the processor of this bootstrap listens."""
        target = next(node["cluster_name"] for node in _nodes(self._filter()) if "cluster_name" in node)
        (cluster,) = (each for each in self._bootstrap["static_resources"]["clusters"] if each["name"] == target)
        return str(next(node["path"] for node in _nodes(cluster) if isinstance(node.get("path"), str)))

    def own(self, admin_socket: str) -> dict[str, Any]:
        """llm-extproc's arm."""
        made = copy.deepcopy(self._bootstrap)
        made["admin"] = {"address": {"pipe": {"path": admin_socket}}}
        resources = made["static_resources"]
        resources["listeners"] = [each for each in resources["listeners"] if _holds(each, "port_value", self._port)]
        return made

    def with_processor(self, port: int, admin_socket: str, processor_socket: str) -> dict[str, Any]:
        """The no-op arm."""
        made = self.own(admin_socket)
        for node in _nodes(made):
            if node.get("port_value") == self._port:
                node["port_value"] = port
            if node.get("path") == self.processor_socket:
                node["path"] = processor_socket
        for manager in _managers(made):
            _send_everything_to(self._upstream, manager["route_config"])
        return made

    def bare(self, port: int, admin_socket: str) -> dict[str, Any]:
        """Bare Envoy."""
        made = self.with_processor(port, admin_socket, self.processor_socket)
        for node in _nodes(made):
            node.get("typed_per_filter_config", {}).pop(FILTER, None)
        for manager in _managers(made):
            manager["http_filters"] = [each for each in manager["http_filters"] if each["name"] != FILTER]
        return made

    def _filter(self) -> dict[str, Any]:
        (found, *_) = (node for node in _nodes(self._bootstrap) if node.get("name") == FILTER)
        return found


def _send_everything_to(cluster: str, routes: dict[str, Any]) -> None:
    """One route in place of the table: the first that leads to the upstream, whatever the request's headers are."""
    for host in routes["virtual_hosts"]:
        (route, *_) = (each for each in host["routes"] if each.get("route", {}).get("cluster") == cluster)
        route["match"].pop("headers", None)
        host["routes"] = [route]


def _cluster_with(bootstrap: dict[str, Any], name: str, value: object) -> str:
    (found,) = (each for each in bootstrap["static_resources"]["clusters"] if _holds(each, name, value))
    return str(found["name"])


def _managers(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The HTTP connection managers of all listeners."""
    return (node for node in _nodes(made) if "http_filters" in node and "route_config" in node)


def _holds(tree: Any, name: str, value: object) -> bool:
    return any(node.get(name) == value for node in _nodes(tree))


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a tree of mappings and lists."""
    if isinstance(tree, dict):
        yield tree
        for value in list(tree.values()):
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
