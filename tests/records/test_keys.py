"""API keys are shown once, kept as a hash, and end when revoked."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from records import keys
from records.database import reading, unit_of_work
from records.keys import KeyMissing, KeyNameTaken, NewKey, Role, RolesConflict
from records.tables import ApiKey, AuditRecord

Sessions = sessionmaker[Session]


def _make(sessions: Sessions, name: str = "night", *roles: Role) -> NewKey:
    with unit_of_work(sessions) as session:
        return keys.create(session, name=name, roles=roles or (Role.VIEWER,), by="tester")


def _who(sessions: Sessions, presented: str) -> str | None:
    with reading(sessions) as session:
        row = keys.authenticate(session, presented)
    return None if row is None else row.name


def test_a_key_is_found_by_what_was_shown(sessions: Sessions) -> None:
    made = _make(sessions, "night", Role.SUBMITTER, Role.AUDITOR)
    with reading(sessions) as session:
        row = keys.authenticate(session, made.secret)
    assert row is not None
    assert row.roles == {Role.SUBMITTER, Role.AUDITOR}


def test_the_secret_is_nowhere_but_in_the_answer(sessions: Sessions) -> None:
    made = _make(sessions)
    assert made.secret not in repr(made)
    with reading(sessions) as session:
        row = session.scalars(select(ApiKey)).one()
        record = session.scalars(select(AuditRecord)).one()
    tail = made.secret.rpartition(made.row.prefix)[2]
    assert row.key_hash == hashlib.sha256(made.secret.encode()).hexdigest()
    assert tail not in str(vars(row)) + str(vars(record))
    assert (record.event_id, record.active_participant) == ("key.created", "tester")


def test_a_secret_has_256_random_bits(sessions: Sessions) -> None:
    made = _make(sessions)
    mark, prefix, random = made.secret.split("_", 2)
    assert (mark, prefix, len(random)) == ("nsk", made.row.prefix, 43)
    assert _make(sessions, "other").secret != made.secret


def test_what_is_almost_a_key_is_not_one(sessions: Sessions) -> None:
    secret = _make(sessions).secret
    swapped = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    near = [swapped, secret + "A", secret[:-1], secret.upper(), f" {secret}", f"x{secret[1:]}"]
    odd = ["", "_", "nsk", "nsk__", "nsk_%_x", "é", "x" * 10_000, secret + "\u0661"]
    assert [_who(sessions, presented) for presented in near + odd] == [None] * 14
    assert _who(sessions, secret) == "night"


def test_a_revoked_key_opens_nothing_and_keeps_its_name(sessions: Sessions) -> None:
    made = _make(sessions)
    for _ in range(2):
        with unit_of_work(sessions) as session:
            revoked = keys.revoke(session, name="night", by="chief")
    assert revoked.revoked_at is not None
    assert _who(sessions, made.secret) is None
    with pytest.raises(KeyNameTaken):
        _make(sessions)
    with reading(sessions) as session:
        events = session.scalars(select(AuditRecord.event_id).order_by(AuditRecord.sequence))
        assert events.all() == ["key.created", "key.revoked"]


def test_revoking_nobody_says_so(sessions: Sessions) -> None:
    with pytest.raises(KeyMissing), unit_of_work(sessions) as session:
        keys.revoke(session, name="nobody", by="tester")


@pytest.mark.parametrize("roles", [(), (Role.TRAINER, Role.APPROVER)])
def test_roles_that_do_not_belong_together_are_refused(
    sessions: Sessions, roles: tuple[Role, ...]
) -> None:
    with pytest.raises(RolesConflict), unit_of_work(sessions) as session:
        keys.create(session, name="night", roles=roles, by="tester")


def test_keys_are_listed_by_name(sessions: Sessions) -> None:
    for name in ("b", "a"):
        _make(sessions, name)
    with reading(sessions) as session:
        assert [row.name for row in keys.all_keys(session)] == ["a", "b"]
