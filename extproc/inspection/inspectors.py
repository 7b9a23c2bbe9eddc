"""Everybody who is asked in this process, made from the configuration."""

from __future__ import annotations

from extproc.bodies.inspection import Inspector
from extproc.errors import ConfigError
from extproc.guardrails import Configured
from extproc.inspection.model import ModelInspector
from extproc.inspection.presidio import PresidioInspector


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
            entities = dict.fromkeys([*consulted.request, *consulted.response])
            made = PresidioInspector(
                configured.analyzer, language=configured.language, entities=[*entities], seconds=seconds
            )
        else:
            made = _model(configured.name, seconds)
        self._made.append(made)
        return made

    async def close(self) -> None:
        for made in self._made:
            await made.close()


def _model(name: str, seconds: float) -> ModelInspector:
    try:
        return ModelInspector(seconds=seconds)
    except ImportError:
        raise ConfigError(f"guardrail {name}: ner needs an extra: pip install 'llm-extproc[ner]'") from None
