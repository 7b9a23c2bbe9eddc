"""Everybody who is asked in this process, made from the configuration."""

from __future__ import annotations

from extproc.bodies.inspection import Inspector
from extproc.errors import ConfigError, SecretUnavailable
from extproc.guardrails import Configured
from extproc.inspection.model import ModelInspector
from extproc.inspection.presidio import PresidioInspector
from extproc.secrets import SecretResolver, parse_reference


class Inspectors:
    """Makes who is asked; `close` lets all of them go."""

    def __init__(self) -> None:
        self._made: list[PresidioInspector | ModelInspector] = []

    def of(self, configured: Configured) -> Inspector | None:
        """Who is asked for a guardrail, `None` for nobody. Raises `ConfigError` where an extra is missing."""
        consulted = configured.consulted
        if consulted is None:
            return None
        seconds = consulted.deadline_ms / 1_000
        made: PresidioInspector | ModelInspector
        if configured.analyzer:
            base = _base(configured)
            entities = dict.fromkeys([*consulted.request, *consulted.response])
            made = PresidioInspector(base, language=configured.language, entities=[*entities], seconds=seconds)
        else:
            made = _model(configured.name, seconds)
        self._made.append(made)
        return made

    async def close(self) -> None:
        for made in self._made:
            await made.close()


def _base(configured: Configured) -> str:
    """The analyzer's address, which may be a reference, as in LiteLLM. Raises `ConfigError`."""
    try:
        base = SecretResolver().resolve(parse_reference(configured.analyzer)).get_secret_value()
    except SecretUnavailable as error:
        raise ConfigError(f"guardrail {configured.name}: presidio_analyzer_api_base: {error}") from None
    if not base.startswith(("http://", "https://")):
        raise ConfigError(
            f"guardrail {configured.name}: presidio_analyzer_api_base must begin with http:// or https://"
        )
    return base


def _model(name: str, seconds: float) -> ModelInspector:
    try:
        return ModelInspector(seconds=seconds)
    except ImportError:
        raise ConfigError(f"guardrail {name}: ner needs an extra: pip install 'llm-extproc[ner]'") from None
