"""The outermost layer: limits, security headers, request ids, measurements, the last net."""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.metrics import HttpMetrics
from api.http.problems import Kind, Problem, answer

BODY_LIMIT: Final = 2**20
TARGET_LIMIT: Final = 8 * 2**10
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

#: The API answers programs. Nothing it sends may run in, or be framed by, a page.
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
}
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

log = logging.getLogger("nightshift.http")


class Guard:
    """ASGI middleware around the whole app.

    Without API keys (allowed on loopback only) a web page must not be able to speak for its
    reader: requests for other host names (DNS rebinding) or sent by other origins are refused.
    """

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics, keyless: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._keyless = keyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; whatever happens, it is answered once and measured."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["nightshift.request"] = str(uuid.uuid4())
        sender = _Sender(scope, send)
        started = time.perf_counter()
        try:
            refusal = self._refuse(scope)
            if refusal is not None:
                await answer(refusal, scope)(scope, receive, sender)
            else:
                await self._app(scope, _limited(receive), sender)
        except Exception as error:  # noqa: BLE001 - the edge: no error may reach the client raw
            await self._fail(error, scope, receive, sender)
        finally:
            self._metrics.observe(scope, sender.status, time.perf_counter() - started)

    async def _fail(self, error: Exception, scope: Scope, receive: Receive, send: _Sender) -> None:
        # Messages of third parties may hold values of rows; where it happened is enough.
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(frames[-4:]))
        log.error(
            "%s at %s in request %s", type(error).__name__, where, scope["nightshift.request"]
        )
        if send.status:
            raise ConnectionAbortedError("the answer broke off after it had begun") from None
        await answer(Problem(Kind.INTERNAL), scope)(scope, receive, send)

    def _refuse(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        target = scope.get("raw_path", b"") + b"?" + scope["query_string"]
        if len(target) > TARGET_LIMIT:
            return Problem(Kind.TOO_LARGE, "The address is too long.")
        if b"%00" in target or b"\0" in target or "\0" in scope["path"]:
            return Problem(Kind.MALFORMED, "The address holds a NUL character.")
        if headers.get("content-encoding", "identity").lower() != "identity":
            return Problem(Kind.UNSUPPORTED_MEDIA_TYPE, "Compressed bodies are not read.")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return Problem(Kind.MALFORMED, "Content-Length is not a number.")
        if int(length[:20]) > BODY_LIMIT:
            return Problem(Kind.TOO_LARGE, f"A body may have up to {BODY_LIMIT} bytes.")
        return self._refuse_foreign(scope["method"], headers) if self._keyless else None

    @staticmethod
    def _refuse_foreign(method: str, headers: Headers) -> Problem | None:
        host = _hostname(f"//{headers.get('host', '')}")
        if host not in LOOPBACK:
            return Problem(Kind.FORBIDDEN, "Without API keys only local names are answered.")
        origin = headers.get("origin")
        if origin is not None and method not in _SAFE and _hostname(origin) not in LOOPBACK:
            return Problem(Kind.FORBIDDEN, "Without API keys no other site may send requests.")
        return None


class _Sender:
    """``send`` with our headers; remembers the status once the answer has begun."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._request = scope["nightshift.request"]
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-Id"] = self._request
        await self._send(message)


def _limited(receive: Receive) -> Receive:
    """Count the bytes of the body, for bodies that do not state their length."""
    seen = 0

    async def count() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > BODY_LIMIT:
            raise Problem(Kind.TOO_LARGE, f"A body may have up to {BODY_LIMIT} bytes.")
        return message

    return count


def _hostname(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Say whether ``host`` is reached from this machine only."""
    return host in LOOPBACK
