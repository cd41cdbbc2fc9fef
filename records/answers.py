"""Answers kept for POSTs that carry an Idempotency-Key: the same request is done once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from records.database import now
from records.tables import KeptAnswer

KEPT_FOR: Final = timedelta(days=7)
_NOT_YET: Final = 0
_AT_ONCE: Final = 100


class KeyReused(ValueError):
    """The Idempotency-Key came with another request before."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Who sent what. ``digest`` is the SHA-256 of method, path and body."""

    caller: str
    idempotency_key: str
    digest: str


def recall(session: Session, request: Request) -> tuple[int, dict[str, Any]] | None:
    """Take the key for this request; return the answer kept for it, or None the first time.

    The row is written before the work is done, in the same transaction: of two that come at once
    the second waits here until the first is committed, and then finds its answer. Where the first
    rolls back, its key is free again.

    Raises:
        KeyReused: the caller used the key for another request in the last ``KEPT_FOR``.

    """
    at = now(session)
    _forget(session, at - KEPT_FOR)
    row = KeptAnswer(
        caller=request.caller,
        idempotency_key=request.idempotency_key,
        request_digest=request.digest,
        status=_NOT_YET,
        body={},
        created_at=at,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        kept = session.get_one(KeptAnswer, (request.caller, request.idempotency_key))
        if kept.request_digest != request.digest:
            raise KeyReused("the Idempotency-Key was used for another request") from None
        return kept.status, kept.body
    return None


def keep(session: Session, request: Request, *, status: int, body: dict[str, Any]) -> None:
    """Keep the answer of the request that ``recall`` has just taken the key for."""
    row = session.get_one(KeptAnswer, (request.caller, request.idempotency_key))
    row.status, row.body = status, body
    session.flush()


def _forget(session: Session, before: datetime) -> None:
    """Delete some old answers; those that another request is deleting are left to it."""
    old = (
        select(KeptAnswer.caller, KeptAnswer.idempotency_key)
        .where(KeptAnswer.created_at < before)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    keys = session.execute(old).all()
    if keys:
        these = tuple_(KeptAnswer.caller, KeptAnswer.idempotency_key).in_(keys)
        session.execute(delete(KeptAnswer).where(these))
