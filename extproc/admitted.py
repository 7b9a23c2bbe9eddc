"""An exchange that was admitted: everything that its receipt will say, and what it amounts to.

The facts are gathered once, when the verdict is yes; what the provider's answer adds comes at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from extproc.bodies.payload_encryption import Sealing
from extproc.bodies.redaction import Redaction
from extproc.bodies.request import Prompt
from extproc.bodies.response import ResponseBody
from extproc.model import Deployment, Key, Nanos, Receipt, UnixMs, Usage
from extproc.policy.routing import Route
from extproc.providers.api import Api, RequestFacts

#: The deployment, the model asked for at the provider, the model that answered (may be empty), the usage, the moment.
Price = Callable[[Deployment, str, str, Usage, UnixMs], Nanos | None]


class Client(msgspec.Struct, frozen=True):
    """Who asks, as the request's headers say it. `tags` are those of a header, and so is `end_user`."""

    call_id: str
    path: str
    requester_ip: str
    user_agent: str
    tags: tuple[str, ...]
    end_user: str | None = None


class Admitted(msgspec.Struct, frozen=True):
    """What is known of an exchange when it is forwarded. `sealing` is there where the answer is to be encrypted,
    `metadata` is what its receipt has of the request's, `is_stored` whether what is said is kept."""

    event_id: str
    started_at: UnixMs
    client: Client
    api: Api
    key: Key
    facts: RequestFacts
    prompt: Prompt
    route: Route
    price: Price
    redaction: Redaction | None = None
    sealing: Sealing | None = None
    metadata: dict[str, object] = {}
    is_stored: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags of the request, the header's first."""
        return (*self.client.tags, *self.facts.tags)

    @property
    def end_user(self) -> str | None:
        """For whom the request is made: the header says it, else the body."""
        return self.client.end_user or self.facts.end_user

    def cost(self, usage: Usage, answered: str = "") -> Nanos | None:
        """The spend of a usage, `None` where no price is known. `answered` is the model that the provider named."""
        return self.price(self.route.deployment, self.route.provider_model, answered, usage, self.started_at)

    def used(self, body: ResponseBody | None) -> tuple[Usage, bool]:
        """What was used, and whether that is an estimate: the provider's own count, else what was seen."""
        if body is not None and body.usage is not None:
            return body.usage, False
        seen = body.seen_tokens() if body is not None else 0
        if body is not None and (begun := body.usage_so_far) is not None:
            return msgspec.structs.replace(begun, output_tokens=max(begun.output_tokens, seen)), True
        return Usage(input_tokens=self.prompt.tokens(), output_tokens=seen), True

    def receipt(  # noqa: PLR0913 - each is a column of the row
        self,
        body: ResponseBody | None,
        usage: Usage,
        spend: Nanos | None,
        *,
        ended_at: UnixMs,
        http_status: int,
        first_byte_at: UnixMs | None = None,
        estimated: bool = False,
        cut: bool = False,
    ) -> Receipt:
        """The receipt of this exchange. `http_status` is 0 where no answer came."""
        deployment, key, client = self.route.deployment, self.key, self.client
        return Receipt(
            event_id=self.event_id,
            call_id=client.call_id,
            key_digest=key.digest,
            started_at=self.started_at,
            ended_at=ended_at,
            operation=self.api.OPERATION,
            path=client.path,
            model_group=self.facts.model,
            model=(body.model if body else "") or self.route.provider_model,
            model_id=deployment.id,
            provider=deployment.provider,
            api_base=deployment.api_base,
            http_status=http_status,
            status="success" if 200 <= http_status < 300 else "failure",
            stream=self.facts.stream,
            usage=usage,
            spend=spend,
            estimated=estimated,
            cut=cut,
            provider_response_id=body.response_id if body else "",
            first_byte_at=first_byte_at,
            key_alias=key.alias,
            user_id=key.user_id,
            team_id=key.team_id,
            organization_id=key.organization_id,
            end_user=self.end_user,
            requester_ip=client.requester_ip,
            user_agent=client.user_agent,
            tags=self.tags,
            metadata=self.metadata,
        )
