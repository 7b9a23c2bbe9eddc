"""`/docs` and what `/openapi.json` says beside the schemas. Everything is served from here, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel

_ASSETS = Path(__file__).parent / "assets"
_MEDIA_TYPES = {
    "docs.html": "text/html",
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
#: No inline script or style; Swagger UI's own icons are `data:` images.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class ErrorBody(BaseModel):
    """What went wrong; `code` is the status as a text."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorEnvelope(BaseModel):
    """LiteLLM's error envelope."""

    error: ErrorBody


class DetailedError(BaseModel):
    """One error that LiteLLM's clients know in FastAPI's envelope."""

    class Detail(BaseModel):
        """What went wrong."""

        error: str

    detail: Detail


class InvalidField(BaseModel):
    """One rule that a request breaks, and where."""

    type: str
    loc: list[str | int]
    msg: str


class InvalidRequest(BaseModel):
    """A wrong type, a missing field, or no JSON."""

    detail: list[InvalidField]


#: The errors that every endpoint with a caller may answer.
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorEnvelope, "description": "A value that cannot be, or a name that is taken"},
    401: {"model": ErrorEnvelope, "description": "No valid key, or not the administrator's"},
    403: {"model": ErrorEnvelope, "description": "Another key's business"},
    404: {"model": ErrorEnvelope, "description": "No such key or model"},
    408: {"model": ErrorEnvelope, "description": "The body did not arrive in time"},
    409: {"model": ErrorEnvelope, "description": "A user of this id or address exists"},
    413: {"model": ErrorEnvelope, "description": "The body is larger than 1 MiB"},
    422: {"model": InvalidRequest, "description": "A wrong type, a missing field, or no JSON"},
    429: {"model": ErrorEnvelope, "description": "Too many wrong keys from this address; `retry-after` says how long"},
    500: {"model": ErrorEnvelope, "description": "A defect of the gateway's"},
    503: {"model": ErrorEnvelope, "description": "The database does not answer"},
}

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def description(request: Request) -> JSONResponse:
    """The description of every endpoint. It takes long to make the first time, so it is made in a thread."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
def page() -> FileResponse:
    """The documentation to read and to try."""
    return FileResponse(
        _ASSETS / "docs.html", media_type="text/html", headers={"content-security-policy": _PAGE_POLICY}
    )


@router.get("/docs/assets/{name}")
def asset(name: str) -> FileResponse:
    """One of the page's own files; only names of the table exist."""
    if name not in _MEDIA_TYPES:
        raise HTTPException(404)
    return FileResponse(
        _ASSETS / name, media_type=_MEDIA_TYPES[name], headers={"cache-control": "public, max-age=86400"}
    )
