"""/docs and /openapi.json: one page without scripts, so that it also works without internet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.http.access import GRANTS, Needs, Permission
from api.http.problems import KINDS, MEDIA_TYPE

PROBLEM_SCHEMA: Final = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "enum": [f"urn:nightshift:problem:{kind}" for kind in KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "urn:uuid of the request, as X-Request-Id"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_REFERENCE: Final = {"$ref": "#/components/schemas/Problem"}
_PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One line of the page."""

    method: str
    path: str
    summary: str
    description: str
    roles: str
    parameters: list[dict[str, Any]]
    body: dict[str, Any] | None


@router.get("/docs")
def page(request: Request) -> Response:
    """Return the page."""
    from jinja2 import Environment, FileSystemLoader  # here: no start waits for a page

    document = request.app.openapi()
    groups: dict[str, list[Operation]] = {}
    for operation, tag in _operations(document):
        groups.setdefault(tag, []).append(operation)
    folder = FileSystemLoader(Path(__file__).parent)
    template = Environment(loader=folder, autoescape=True).get_template("docs.html")
    html = template.render(info=document["info"], groups=groups, kinds=KINDS)
    return Response(html, headers={"Content-Security-Policy": _PAGE_POLICY}, media_type="text/html")


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Let the app describe itself with problems and the roles of each operation of ``routers``."""
    kept: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not kept:
            kept.update(_document(app, routers))
        return kept

    app.openapi = document  # type: ignore[method-assign]  # the way FastAPI documents


def permission_of(dependant: Dependant) -> Permission | None:
    """Return the permission that a route needs, or None where it is open."""
    for part in dependant.dependencies:
        if isinstance(part.call, Needs):
            return part.call.permission
    return None


def _document(app: FastAPI, routers: Sequence[APIRouter]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    schemas = document["components"]["schemas"]
    schemas["Problem"] = PROBLEM_SCHEMA
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    permissions = {
        (method.lower(), route.path): permission_of(route.dependant)
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _describe(operation, permissions.get((method, path)))
    return document


def _describe(operation: dict[str, Any], permission: Permission | None) -> None:
    operation["responses"].pop("422", None)
    problem = {"description": "A problem", "content": {MEDIA_TYPE: {"schema": _REFERENCE}}}
    operation["responses"]["default"] = problem
    if permission is not None:
        roles = [role.value for role, granted in GRANTS.items() if permission in granted]
        operation["x-roles"] = roles


def _operations(document: dict[str, Any]) -> Iterator[tuple[Operation, str]]:
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, said in operations.items():
            yield (
                Operation(
                    method=method.upper(),
                    path=path,
                    summary=said["summary"],
                    description=said.get("description", ""),
                    roles=", ".join(said.get("x-roles", [])),
                    parameters=said.get("parameters", []),
                    body=_body(said, schemas),
                ),
                said.get("tags", ["other"])[0],
            )


def _body(operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"]
    for option in [schema, *schema.get("anyOf", [])]:
        if "$ref" in option:
            found: dict[str, Any] = schemas[option["$ref"].rpartition("/")[2]]
            return found
    return None
