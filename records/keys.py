"""Keys of the HTTP API: shown once, kept as a hash, found by their prefix."""

from __future__ import annotations

import enum
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from records import audit
from records.database import now
from records.tables import ApiKey

_MARK: Final = "nsk"
_PREFIX_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_LONGEST: Final = 128
_NO_HASH: Final = "0" * 64


class Role(enum.StrEnum):
    """What a key may be used for. See ``api.http.access`` for what each role opens."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    TRAINER = "trainer"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMIN = "admin"


class KeyNameTaken(ValueError):
    """A key of that name exists; names are never used twice, revoked or not."""


class KeyMissing(LookupError):
    """There is no key of that name."""


class RolesConflict(ValueError):
    """Roles that one key must not hold together, or no role at all."""


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """One key as it may be shown."""

    id: uuid.UUID
    name: str
    prefix: str
    roles: frozenset[Role]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key just made. ``secret`` exists only here: it cannot be shown again."""

    row: KeyRow
    secret: str = field(repr=False)


def create(session: Session, *, name: str, roles: Iterable[Role], by: str) -> NewKey:
    """Make a key.

    Raises:
        KeyNameTaken: the name was used before.
        RolesConflict: no role, or both trainer and approver, for who trains does not approve.

    """
    held = frozenset(roles)
    if not held:
        raise RolesConflict("a key needs at least one role")
    if {Role.TRAINER, Role.APPROVER} <= held:
        raise RolesConflict("who trains a model does not approve it: use two keys")
    prefix = secrets.token_hex(_PREFIX_BYTES)
    secret = f"{_MARK}_{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    row = ApiKey(
        id=uuid.uuid4(),
        name=name,
        prefix=prefix,
        key_hash=_hash(secret),
        roles=sorted(held),
        created_at=now(session),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise KeyNameTaken("a key of that name exists or existed") from error
    _audit(session, "key.created", "C", row, by)
    return NewKey(row=_shown(row), secret=secret)


def authenticate(session: Session, presented: str) -> KeyRow | None:
    """Return the key that ``presented`` is, or None: unknown, wrong and revoked look alike.

    The hash is compared in constant time, also where no key has the prefix.
    """
    if len(presented) > _LONGEST or not presented.isascii():
        return None
    mark, _, rest = presented.partition("_")
    prefix, _, _ = rest.partition("_")
    found = session.scalars(select(ApiKey).where(ApiKey.prefix == prefix)).one_or_none()
    kept = _NO_HASH if found is None else found.key_hash
    matches = hmac.compare_digest(kept, _hash(presented))
    if found is None or not matches or mark != _MARK or found.revoked_at is not None:
        return None
    return _shown(found)


def revoke(session: Session, *, name: str, by: str) -> KeyRow:
    """End a key. Revoking it twice changes nothing.

    Raises:
        KeyMissing: there is none of that name.

    """
    row = session.scalars(select(ApiKey).where(ApiKey.name == name)).one_or_none()
    if row is None:
        raise KeyMissing("there is no key of that name")
    if row.revoked_at is None:
        row.revoked_at = now(session)
        _audit(session, "key.revoked", "U", row, by)
    return _shown(row)


def all_keys(session: Session) -> list[KeyRow]:
    """Return every key, by name."""
    return [_shown(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.name))]


def _hash(secret: str) -> str:
    # A plain hash is enough for 256 random bits; a slow one would only slow every request.
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _shown(row: ApiKey) -> KeyRow:
    return KeyRow(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        roles=frozenset(Role(role) for role in row.roles),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )


def _audit(session: Session, event: str, action: str, row: ApiKey, by: str) -> None:
    audit.append(
        session,
        event_id=event,
        action=action,
        by=by,
        object_type="api_key",
        object_id=row.name,
        detail={"prefix": row.prefix, "roles": row.roles},
    )
