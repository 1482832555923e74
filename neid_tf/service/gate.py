"""What every request passes: its number, who may ask, one line in the log, and the measures."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
import traceback
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neid_tf.service.body import READ, send_and_drain
from neid_tf.service.configuration import Configuration
from neid_tf.service.errors import GONE, Refused
from neid_tf.service.log import log
from neid_tf.support import hosts

_NUMBER = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
_OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")
"""What needs no key."""
FACTS = "neid"
"""The name, in a request's scope, of what the log is to tell of it."""


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        configuration: of the service.
        note: is called with path, status and seconds of each request.
    """

    def __init__(
        self, app: ASGIApp, configuration: Configuration, note: Callable[[str, int, float], None]
    ) -> None:
        self.app, self.configuration, self.note = app, configuration, note
        self.names = hosts.own_names() | {name.lower() for name in configuration.names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, begun = dict(scope["headers"]), time.monotonic()
        number = headers.get(b"x-request-id", b"")
        number = number if _NUMBER.fullmatch(number) else secrets.token_hex(8).encode()
        facts, read = {"id": number.decode()}, asyncio.Event()
        scope |= {FACTS: facts, READ: read}
        status = 0

        async def receiving() -> Message:
            message = await receive()
            if not message.get("more_body"):
                read.set()
            return message

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", number)]
            await send(message)

        try:
            await self._answer(scope, receiving, noting, headers)
        except Exception as error:
            facts["traceback"] = "".join(traceback.format_exception(error))
            if not status:
                await refuse(Refused(500, "a fault of the service"), scope, receiving, noting)
        finally:
            self._tell(scope, facts, status or GONE, time.monotonic() - begun)

    async def _answer(self, scope, receive, send, headers):
        refused = self._refusal(scope["path"], headers)
        if refused:
            await refuse(refused, scope, receive, send, self.configuration.max_bytes)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, path, headers):
        """Return why a request is refused before anything is looked at, or None."""
        if not self.configuration.keys:
            reason = hosts.refusal(headers, self.names)
            return Refused(403, reason) if reason else None
        if path in _OPEN or self.configuration.knows(_key(headers)):
            return None
        return Refused(401, "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")

    def _tell(self, scope, facts, status, seconds):
        self.note(scope["path"], status, seconds)
        level = "error" if status >= 500 else "info"
        client = (scope.get("client") or [None])[0]
        fields = {"method": scope["method"], "path": scope["path"], "client": client}
        log("request", level, **fields, status=status, seconds=round(seconds, 4), **facts)


def _key(headers):
    """Return the key that a request comes with, or an empty text."""
    kind, _, key = headers.get(b"authorization", b"").partition(b" ")
    given = key if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
    return given.strip().decode("latin-1")


async def refuse(
    error: Refused, scope: Scope, receive: Receive, send: Send, max_bytes: int = 0
) -> None:
    """Answer with the reason why there is nothing else, in JSON.

    Args:
        error: the reason.
        scope, receive, send: of the request.
        max_bytes: the largest body taken.
    """
    facts = scope.get(FACTS, {})
    facts["reason"] = str(error)
    headers = dict(error.headers) | {"Connection": "close"}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    fields = {"status": error.status, "error": str(error), "request_id": facts.get("id")}
    made = JSONResponse(fields, error.status if error.status != GONE else 400, headers)
    start = {"type": "http.response.start", "status": made.status_code, "headers": made.raw_headers}
    await send_and_drain(scope, receive, send, start, made.body, max_bytes)
