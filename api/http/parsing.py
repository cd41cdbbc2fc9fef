"""Bodies are read strictly: what JSON parsers disagree on is refused, not guessed."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict

from api.http.light import LightRoute
from api.http.problems import Kind, Problem

MAX_DEPTH: Final = 32
_LARGEST_INTEGER: Final = 2**63 - 1
_MISSING: Final = object()


class Body(BaseModel):
    """Base of all request bodies: unknown fields and changes of type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StrictRequest(Request):
    """A request whose JSON is parsed once, strictly."""

    _parsed: Any = _MISSING

    async def json(self) -> Any:
        """Return the body.

        Raises:
            Problem: not JSON (400) or not declared as JSON (415).

        """
        if self._parsed is _MISSING:
            self._parsed = parse(await self.body())
        return self._parsed


class StrictRoute(LightRoute):
    """A route that hands ``StrictRequest`` to whoever asks for the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the body checked before anything else looks at it."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            if request.method in {"POST", "PUT", "PATCH"} and await strict.body():
                _require_json(strict.headers.get("content-type", ""))
                await strict.json()
            return await handler(strict)

        return handle


def parse(body: bytes) -> Any:
    """Return the value of a JSON text.

    Refused beside what is not JSON: NaN and numbers beyond a double, lone surrogates, NUL
    characters (PostgreSQL cannot hold them), a name twice in one object, deep nesting.

    Raises:
        Problem: one of these.

    """
    try:
        orjson.loads(body)  # NaN, 1e400, lone surrogates, broken UTF-8, nesting
        value = json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Problem(Kind.MALFORMED, "The body is not JSON that all parsers agree on.") from error
    _check(value)
    return value


def _require_json(content_type: str) -> None:
    kind, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower()
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
        raise Problem(Kind.UNSUPPORTED_MEDIA_TYPE)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return names


def _check(value: Any) -> None:
    """Walk the value without recursion; its depth is the caller's choice."""
    todo: list[tuple[Any, int]] = [(value, 0)]
    while todo:
        item, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise Problem(Kind.MALFORMED, f"The body nests deeper than {MAX_DEPTH} levels.")
        if isinstance(item, str) and "\0" in item:
            raise Problem(Kind.MALFORMED, "The body holds a NUL character.")
        if isinstance(item, int) and abs(item) > _LARGEST_INTEGER:
            raise Problem(Kind.MALFORMED, "The body holds a number beyond 64 bits.")
        if isinstance(item, dict):
            todo.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, list):
            todo.extend((part, depth + 1) for part in item)
