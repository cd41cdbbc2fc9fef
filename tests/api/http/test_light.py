"""The API starts light: what computes stays in the workers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.http.app import ROUTERS
from records.tables import Base

COMPUTES = ("torch", "monai", "numpy", "pydicom", "pipeline", "highdicom", "scipy", "PIL")
#: what an upgrade and the workers load, the first /readyz, and the first page
LATER = ("alembic", "celery", "kombu", "redis", "jinja2")


def test_importing_the_server_imports_nothing_that_computes_and_nothing_for_later() -> None:
    script = "import api.http.server, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint((*COMPUTES, *LATER))
    assert "fastapi" in loaded


def test_importing_the_server_builds_no_schema_of_an_answer() -> None:
    script = """
from api.http.app import ROUTERS
from api.http.parsing import StrictRoute

routes = [r for router in ROUTERS for r in router.routes if isinstance(r, StrictRoute)]
fields = [r.response_field for r in routes if r.response_field is not None]
print(len(fields), [f.name for f in fields if f._type_adapter.pydantic_complete])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    count, built = done.stdout.split(maxsplit=1)
    assert int(count) > 30
    assert built.strip() == b"[]"


def test_no_annotation_that_a_start_reads_has_to_be_compiled_first() -> None:
    routes = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)]
    read = {call for route in routes for call in _calls(route.dependant)}
    read |= {mapper.class_ for mapper in Base.registry.mappers}
    strings = [
        (each, name)
        for each in read
        for name, said in getattr(each, "__annotations__", {}).items()
        if isinstance(said, str)
    ]
    assert len(read) > 70
    assert strings == []


def _calls(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    """Yield what FastAPI calls for a route, but for its own classes."""
    call = dependant.call
    if call is not None and not type(call).__module__.startswith("fastapi"):
        yield call if hasattr(call, "__name__") else type(call).__call__
    for part in dependant.dependencies:
        yield from _calls(part)
