"""Idempotency-Key: a POST that is sent twice is done once and answered twice."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Header, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.http.problems import Kind, Problem
from api.http.services import Held, Services
from records import answers
from records.database import unit_of_work

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,120}$",
        description="any text of yours; the same key and body are done once and answered alike",
    ),
]


@dataclass(frozen=True)
class Once:
    """Runs the work of one POST in one transaction, or repeats the answer it had before."""

    services: Services
    key: str | None
    digest: str

    def answer(
        self, caller: str, work: Callable[[Session], dict[str, Any]], *, status: int = 200
    ) -> Response:
        """Return the answer to this POST. ``work`` returns its body and may raise ``Problem``.

        Raises:
            Problem: the key came with another request before.

        """
        with unit_of_work(self.services.sessions) as session:
            if self.key is None:
                return _json(work(session), status)
            asked = answers.Request(caller=caller, idempotency_key=self.key, digest=self.digest)
            try:
                kept = answers.recall(session, asked)
            except answers.KeyReused as error:
                raise Problem(Kind.IDEMPOTENCY_CONFLICT) from error
            if kept is not None:
                return _json(kept[1], kept[0], {"Idempotency-Replayed": "true"})
            body = orjson.loads(orjson.dumps(work(session)))
            answers.keep(session, asked, status=status, body=body)
            return _json(body, status)


async def _once(request: Request, services: Held, key: Key = None) -> Once:
    body = await request.json() if await request.body() else None
    said = [request.method, request.url.path, body]
    digest = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Once(services, key, digest)


Idempotent = Annotated[Once, Depends(_once)]


def _json(body: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")
