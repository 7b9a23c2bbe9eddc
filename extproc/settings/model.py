"""The settings as the program knows them: complete, typed, frozen, defaults filled in."""

from __future__ import annotations

import msgspec

from extproc.guardrails import Configured
from extproc.model import Allowance, Deployment, SecretRef, Upstream
from extproc.payload_keys import PayloadKey
from extproc.policy.consent import Demand
from extproc.policy.destinations import Destinations
from extproc.policy.key_bounds import Bounds, Defaults
from extproc.policy.minimal import Kept
from extproc.policy.origins import Origins
from extproc.policy.sso import SingleSignOn
from extproc.secret_managers import Managers

MEBIBYTE = 1024 * 1024


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration decides.

    Sizes are bytes, times milliseconds. `master_key` is `None` where the configuration names none: the composition
    root then takes the generated one. `encryption_key` seals what is stored, the previous ones only open it.
    `database_url` of `None` is the embedded database; `database_pool_size` of `None` leaves it to the URL;
    `database_listen_url` leads to the same database without a pooler between, `None` where `database_url` does.
    `keep_ledger_ms` is how long rows of the ledger are kept, `None` for ever; older ones are looked for each
    `purge_interval_ms`.
    `everybody`, `model_rates` (by model name) and `per_deployment` are the limits that do not hang on a key; `dry_run`
    names limits that refuse nobody. `key_bounds` is what no key gets more of, `key_defaults` what it gets unasked.
    `counter_lease_ms` is how long a worker that is not heard of is believed to be alive. `managers` keep secrets
    elsewhere; `secret_places` says where in the file each reference stands.
    `store_prompts` is whether what was said is stored, `heed_no_log` whether a request may ask not to be, and
    `keep_prompts_ms` how long it is kept, `None` as long as the row of the ledger.
    `stored_model_hosts` are those that stored models may lead to besides the configured ones.
    `sso` is how people log in, `None` where nobody does.
    `kept` is what of a request is written down, `consent` what the person behind it must have agreed to.
    `unsupported` lists settings without an effect, each `FILE:LINE:COLUMN: …`, for a warning.
    """

    deployments: tuple[Deployment, ...] = ()
    master_key: SecretRef | None = None
    previous_master_keys: tuple[SecretRef, ...] = ()
    encryption_key: SecretRef | None = None
    previous_encryption_keys: tuple[SecretRef, ...] = ()
    store_model_in_db: bool = True
    stored_model_hosts: Destinations = Destinations()
    database_url: SecretRef | None = None
    database_pool_size: int | None = None
    database_listen_url: SecretRef | None = None
    keep_ledger_ms: int | None = None
    purge_interval_ms: int = 86_400_000
    block_unpriced_models: bool = False
    require_auth_for_metrics_endpoint: bool = True
    store_audit_logs: bool = True
    audit_key: SecretRef | None = None
    key_cache_ttl_ms: int = 60_000
    key_cache_size: int = 10_000
    max_request_bytes: int = 16 * MEBIBYTE
    max_response_bytes: int = 64 * MEBIBYTE
    message_timeout_ms: int = 5_000
    store_deadline_ms: int = 2_000
    stream_idle_timeout_ms: int = 600_000
    kept: Kept = Kept()
    consent: Demand = Demand()
    store_prompts: bool = False
    heed_no_log: bool = True
    keep_prompts_ms: int | None = None
    redact_user_api_key_info: bool = False
    allowed_ips: tuple[str, ...] = ()
    trusted_proxy_ranges: tuple[str, ...] = ()
    failed_login_attempts: int = 10
    failed_login_window_ms: int = 60_000
    failed_login_block_ms: int = 300_000
    everybody: Allowance = Allowance()
    model_rates: dict[str, Allowance] = {}
    per_deployment: Allowance = Allowance()
    apply_user_budget_to_team_keys: bool = False
    key_bounds: Bounds = Bounds()
    key_defaults: Defaults = Defaults()
    end_user_headers: tuple[str, ...] = ()
    mapped_headers: tuple[str, ...] = ()
    timezone: str = "UTC"
    budget_exceeded_status: int = 422
    budget_wait_ms: int = 300
    on_outage: str = "refuse"
    dry_run: tuple[str, ...] = ()
    redis_url: SecretRef | None = None
    redis_host: SecretRef | None = None
    redis_port: SecretRef | None = None
    redis_password: SecretRef | None = None
    counter_deadline_ms: int = 250
    counter_lease_ms: int = 30_000
    guardrails: tuple[Configured, ...] = ()
    payload_encryption: tuple[PayloadKey, ...] = ()
    redaction_deadline_ms: int = 2_000
    sso: SingleSignOn | None = None
    managers: Managers = Managers()
    secret_places: dict[str, str] = {}
    unsupported: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[SecretRef, ...]:
        """Every secret that the configuration refers to, in order of appearance."""
        values = [getattr(self, name) for name in self.__struct_fields__]
        several = [each for value in values if isinstance(value, tuple) for each in value]
        owned = [each.credential for each in self.deployments] + [each.key for each in self.payload_encryption]
        for provider in self.sso.providers if self.sso else ():
            owned += [provider.client_id, provider.client_secret]
        return tuple(dict.fromkeys(each for each in (*values, *several, *owned) if isinstance(each, SecretRef)))

    @property
    def log_requester_ip(self) -> bool:
        """Whether it is written down anywhere who was connected."""
        return self.kept.requester_ip

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Every distinct upstream of the deployments, in order of appearance."""
        return tuple(dict.fromkeys(deployment.upstream for deployment in self.deployments))

    @property
    def stored_schemes(self) -> tuple[str, ...]:
        """The schemes of hosts that only stored models lead to, `https` first; none where there can be no such host."""
        return self.stored_model_hosts.schemes if self.store_model_in_db else ()

    @property
    def origins(self) -> Origins:
        """Where requests may come from."""
        return Origins(self.allowed_ips, self.trusted_proxy_ranges)

    @property
    def counters_are_shared(self) -> bool:
        """Whether the counters are in Redis, and so can be shared by several workers."""
        return self.redis_url is not None or self.redis_host is not None


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where one installation's sockets, ports and files are. Paths are absolute.

    `processor_sockets` and `management_sockets` hold one Unix socket per worker process each. `certificate` and
    `private_key` are PEM files, `ca_bundle` is the trust store for upstream TLS. A port of `None` leaves its listener
    out.
    """

    data_dir: str
    processor_sockets: tuple[str, ...]
    management_sockets: tuple[str, ...]
    admin_socket: str
    certificate: str
    private_key: str
    ca_bundle: str
    http_address: str = "127.0.0.1"
    http_port: int | None = 4000
    https_address: str = "0.0.0.0"  # noqa: S104 - TLS is for everyone
    https_port: int | None = 8443
    drain_seconds: int = 30

    @property
    def workers(self) -> int:
        """How many worker processes there are."""
        return len(self.processor_sockets)

    @property
    def management_socket(self) -> str:
        """The first worker's."""
        return self.management_sockets[0]
