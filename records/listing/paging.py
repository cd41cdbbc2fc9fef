"""Keyset pages: a cursor names the last row seen, so rows written meanwhile shift nothing."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeAlias, TypeVar

from sqlalchemy import Row, Select, TypeDecorator, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.types import TypeEngine

T = TypeVar("T")
AnyRow: TypeAlias = Row[*tuple[Any, ...]]
AnySelect: TypeAlias = Select[*tuple[Any, ...]]

MAX_PAGE: Final = 500
_LARGEST_INTEGER: Final = 2**63 - 1
_LONGEST_CURSOR: Final = 1024


class BadCursor(ValueError):
    """The cursor was not handed out by this listing."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows and where to go on. ``next`` is None on the last page."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of one listing: columns that together are unique, all one way."""

    listing: str
    columns: tuple[InstrumentedAttribute[Any], ...]
    newest_first: bool = True


@dataclass(frozen=True, kw_only=True)
class Window:
    """Which part of a listing is asked for."""

    limit: int = 50
    cursor: str | None = None


def page(
    session: Session,
    query: AnySelect,
    order: Order,
    window: Window,
    make: Callable[[Sequence[AnyRow]], list[T]],
) -> Page[T]:
    """Run ``query`` for one page. ``make`` turns the rows of the page into items, all at once.

    The key columns are added to the query as its last columns.

    Raises:
        BadCursor: ``window.cursor`` is not of this listing.

    """
    width = len(order.columns)
    limit = max(1, min(window.limit, MAX_PAGE))
    query = query.add_columns(*order.columns)
    if window.cursor is not None:
        query = query.where(_after(order, decode(order, window.cursor)))
    query = query.order_by(*(c.desc() if order.newest_first else c.asc() for c in order.columns))
    rows = session.execute(query.limit(limit + 1)).all()
    kept = rows[:limit]
    last = encode(order, kept[-1][-width:]) if len(rows) > limit else None
    return Page(items=make(kept), next=last)


def _after(order: Order, values: Sequence[Any]) -> Any:
    here = tuple_(*order.columns)
    there = tuple_(*values, types=[column.type for column in order.columns])
    return here < there if order.newest_first else here > there


def encode(order: Order, values: Sequence[Any]) -> str:
    """Return the cursor that stands for a row, opaque to whoever gets it."""
    words = [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
    text = json.dumps([order.listing, *words], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(order: Order, cursor: str) -> list[Any]:
    """Return the key that a cursor stands for.

    Raises:
        BadCursor: it is not one of this listing; nothing of it is repeated in the message.

    """
    try:
        listing, *words = _words(cursor)
        if listing == order.listing and len(words) == len(order.columns):
            kinds = [_kind(column.type) for column in order.columns]
            return [_value(word, kind) for word, kind in zip(words, kinds, strict=True)]
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadCursor("the cursor is not one that a page handed out") from error
    raise BadCursor("the cursor belongs to another listing")


def _words(cursor: str) -> list[str]:
    if len(cursor) > _LONGEST_CURSOR:
        raise BadCursor("the cursor is too long")
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    words = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise BadCursor("the cursor is not one that a page handed out")
    return words


def _kind(column: TypeEngine[Any]) -> type:
    # A decorated type says only "object" of itself.
    plain = column.impl_instance if isinstance(column, TypeDecorator) else column
    return plain.python_type


def _value(word: str, kind: type) -> uuid.UUID | datetime | int | str:
    if kind is uuid.UUID:
        return uuid.UUID(word)
    if kind is datetime:
        return datetime.fromisoformat(word).astimezone(UTC)
    if kind is int:
        number = int(word)
        if not 0 <= number <= _LARGEST_INTEGER:
            raise BadCursor("the cursor is out of range")
        return number
    word.encode()  # a lone surrogate is a ValueError here instead of an error of the database
    if "\0" in word:
        raise BadCursor("the cursor holds a NUL character")
    return word
