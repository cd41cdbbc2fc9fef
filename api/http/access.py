"""Who may do what: API keys, their roles, and the permission that each route needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.http.problems import Kind, Problem
from api.http.services import Held, Services
from records import audit, keys
from records.database import reading, unit_of_work
from records.keys import Role

#: the participant of the audit trail where no keys are required (loopback only)
LOCAL: Final = "local"


class Permission(StrEnum):
    """What a route needs."""

    READ = "read"
    SUBMIT = "submit"
    TRAIN = "train"
    APPROVE = "approve"
    AUDIT = "audit"


GRANTS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.SUBMITTER: frozenset({Permission.READ, Permission.SUBMIT}),
    Role.TRAINER: frozenset({Permission.READ, Permission.TRAIN}),
    Role.APPROVER: frozenset({Permission.READ, Permission.APPROVE}),
    Role.AUDITOR: frozenset({Permission.READ, Permission.AUDIT}),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True)
class Caller:
    """Who sent the request: the name of the key."""

    name: str
    roles: frozenset[Role]

    def may(self, permission: Permission) -> bool:
        """Say whether one of the roles grants ``permission``."""
        return any(permission in GRANTS[role] for role in self.roles)


_bearer = HTTPBearer(
    auto_error=False, scheme_name="API key", description="`nightshift keys create` makes one"
)
Presented = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


@dataclass(frozen=True)
class Needs:
    """Dependency of a route: the caller, once the caller may do it."""

    permission: Permission

    def __call__(self, request: Request, services: Held, presented: Presented) -> Caller:
        """Return the caller.

        Raises:
            Problem: no valid key (401) or not one of its roles (403); both are audited.

        """
        caller = _caller(services, presented)
        if caller is None:
            _refused(services, "sign_in", "unknown", request)
            raise Problem(Kind.UNAUTHENTICATED, headers={"WWW-Authenticate": "Bearer"})
        if not caller.may(self.permission):
            _refused(services, "role", caller.name, request)
            raise Problem(
                Kind.FORBIDDEN, f"This needs a role with the permission {self.permission}."
            )
        return caller


#: for routes that need not know who asks
READ: Final = Depends(Needs(Permission.READ))
AUDIT: Final = Depends(Needs(Permission.AUDIT))

Reader = Annotated[Caller, READ]
Submitter = Annotated[Caller, Depends(Needs(Permission.SUBMIT))]
Trainer = Annotated[Caller, Depends(Needs(Permission.TRAIN))]
Approver = Annotated[Caller, Depends(Needs(Permission.APPROVE))]


def _caller(services: Services, presented: HTTPAuthorizationCredentials | None) -> Caller | None:
    if not services.settings.api_keys_required:
        return Caller(LOCAL, frozenset({Role.ADMIN}))
    if presented is None or presented.scheme.lower() != "bearer":
        return None
    with reading(services.sessions) as session:
        key = keys.authenticate(session, presented.credentials)
    return None if key is None else Caller(key.name, key.roles)


def _refused(services: Services, why: str, by: str, request: Request) -> None:
    services.metrics.refused.labels(why).inc()
    if not services.seldom(f"{why} {by}"):
        return
    route = getattr(request.scope.get("route"), "path", "")
    with unit_of_work(services.sessions) as session:
        audit.append(
            session,
            event_id="access.refused",
            action="E",
            by=by,
            object_type="route",
            object_id=f"{request.method} {route}"[:128],
            outcome=audit.MINOR_FAILURE,
            detail={"why": why},
        )
