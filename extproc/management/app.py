"""The application, put together from its routers."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.routing import BaseRoute

from extproc import __version__
from extproc.management import (
    activity,
    activity_lists,
    attempts,
    audit,
    budgets,
    customers,
    documentation,
    errors,
    explain,
    guardrails,
    health,
    key_bulk,
    key_regeneration,
    keys,
    members,
    model_admin,
    models,
    persons,
    spend,
    spend_content,
    spend_logs,
    spend_reports,
    spend_reset,
    sso,
    suspicion,
    tags,
    team_views,
    teams,
    users,
)
from extproc.management.parts import ManagementParts
from extproc.management.shell import Shell

_DESCRIPTION = """
LiteLLM's management API for llm-extproc: virtual keys, teams, users, customers, budgets, tags, spend and health.

Send the master key, or a virtual key where it may look at itself, as `Authorization: Bearer sk-…`.
Errors are `{"error": {"message", "type", "param", "code"}}`; a request that does not fit its schema is a 422.
"""
#: For the documentation; `authentication.py` reads the header itself, and others too.
_BEARER = HTTPBearer(auto_error=False, scheme_name="API key", description="The master key, or a virtual key")


def create_app(parts: ManagementParts) -> FastAPI:
    """The management API over these parts. It needs no lifespan: the parts are opened and closed by their owner."""
    app = FastAPI(
        title="llm-extproc",
        summary="Management API",
        description=_DESCRIPTION,
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=_routes(),
    )
    app.state.parts = parts
    app.state.erasures = persons.Erasures()
    app.state.logins = sso.Logins()
    errors.install(app)
    app.add_middleware(Shell)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Of every app in this process: FastAPI takes a quarter of a second to build them, at the first request."""
    everything = APIRouter(redirect_slashes=False)
    for router in (
        keys.administration,
        keys.reading,
        key_regeneration.administration,
        key_bulk.administration,
        key_bulk.reading,
        teams.administration,
        teams.reading,
        team_views.administration,
        team_views.reading,
        members.administration,
        users.administration,
        users.reading,
        persons.administration,
        persons.reading,
        persons.customers,
        customers.administration,
        budgets.administration,
        tags.administration,
        spend.administration,
        spend.reading,
        spend_logs.reading,
        spend_content.reading,
        spend_reports.administration,
        spend_reports.reading,
        spend_reset.administration,
        activity.reading,
        activity_lists.reading,
        explain.reading,
        suspicion.administration,
        guardrails.reading,
        audit.administration,
        attempts.administration,
        model_admin.administration,
        model_admin.reading,
        models.router,
        health.reading,
        sso.session,
    ):
        everything.include_router(router, dependencies=[Depends(_BEARER)])
    for router in (health.public, sso.public, documentation.router):
        everything.include_router(router)
    return everything.routes
