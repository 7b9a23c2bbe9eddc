"""The whole bootstrap: node, admin, runtime, overload, listeners and clusters, as JSON with proto field names."""

from __future__ import annotations

from typing import Any

import msgspec
from betterproto2 import Casing
from envoy_data_plane.envoy.config.bootstrap import v3 as bootstrap
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.overload import v3 as overload
from envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections import v3 as downstream_connections
from envoy_data_plane.google.protobuf import Struct

from extproc.envoyconfig.clusters import clusters
from extproc.envoyconfig.listeners import listeners
from extproc.envoyconfig.typed import OWNER_ONLY, typed
from extproc.settings.model import Layout, Settings

NODE = "llm-extproc"
MAX_CONNECTIONS = 50_000

RUNTIME = {
    # Without it Envoy ends every ext_proc stream with a reset, and the processor sees cancellations at random.
    "envoy.reloadable_features.ext_proc_graceful_grpc_close": True,
    # Envoy refuses expressions above 100 instructions in case they come from strangers; these are our own constants.
    "re2.max_program_size.error_level": 2_000,
}


def render(settings: Settings, layout: Layout) -> dict[str, Any]:
    """Envoy's v3 bootstrap in JSON form: `envoy --config-path` takes it as JSON or YAML.

    Holds no secret and reads no file. Two renderings of equal arguments are equal.
    """
    if not layout.ca_bundle:
        # Without authorities nobody unknown can be told from somebody else.
        settings = msgspec.structs.replace(settings, stored_model_hosts=settings.stored_model_hosts.without_tls())
    return _bootstrap(settings, layout).to_dict(casing=Casing.SNAKE)


def _bootstrap(settings: Settings, layout: Layout) -> bootstrap.Bootstrap:
    return bootstrap.Bootstrap(
        node=core.Node(id=NODE, cluster=NODE),
        admin=bootstrap.Admin(
            # The admin interface can stop Envoy and show every header's route: for the owner of the process only.
            address=core.Address(pipe=core.Pipe(path=layout.admin_socket, mode=OWNER_ONLY)),
            ignore_global_conn_limit=True,
        ),
        layered_runtime=bootstrap.LayeredRuntime(
            layers=[bootstrap.RuntimeLayer(name="static", static_layer=Struct.from_dict(RUNTIME))]
        ),
        overload_manager=_overload(),
        static_resources=bootstrap.BootstrapStaticResources(
            listeners=listeners(settings, layout), clusters=clusters(settings, layout)
        ),
    )


def _overload() -> overload.OverloadManager:
    limit = downstream_connections.DownstreamConnectionsConfig(max_active_downstream_connections=MAX_CONNECTIONS)
    return overload.OverloadManager(
        resource_monitors=[
            overload.ResourceMonitor(
                name="envoy.resource_monitors.global_downstream_max_connections", typed_config=typed(limit)
            )
        ]
    )
