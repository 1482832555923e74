"""Who may talk to the page, and what its log says of those who talk nonsense."""

from __future__ import annotations

import ipaddress
import socket
import sys
import types
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from urllib.parse import urlsplit

_HEADER = "latin-1"
_LONGEST = 200


class Guard:
    """ASGI middleware that refuses foreign hosts and origins, and survives its clients' mistakes.

    A page of another site could otherwise reach this server through the browser of somebody who
    visits that site: by a request across sites (its Origin is foreign), or under a name that was
    made to mean this machine (its Host is foreign).

    Args:
        app: the application behind it.
        hosts: names that the page may be asked for, beside addresses and names of this machine.
    """

    def __init__(self, app: Callable, hosts: Collection[str] = ()) -> None:
        self.app, self.hosts = app, own_names() | {host.lower() for host in hosts}

    async def __call__(
        self, scope: MutableMapping, receive: Callable, send: Callable[[dict], Awaitable[None]]
    ) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif reason := self._refusal(dict(scope["headers"])):
            await _answer(send, 403, reason)
        else:
            await self._handed_on(scope, receive, send)

    def _refusal(self, headers):
        """Return why a request is refused, or an empty text."""
        host = headers.get(b"host", b"").decode(_HEADER)
        if not self._is_own(host):
            return "this page is not served under that name"
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin.decode(_HEADER)).netloc.lower() != host.lower():
            return "pages of other sites may not use this one"
        return ""

    def _is_own(self, host):
        name = hostname(host)
        return name in self.hosts or is_address(name)

    async def _handed_on(self, scope, receive, send):
        """Let the application answer; what it raises becomes an answer and a line in the log."""
        begun = False

        async def noting(message):
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception as error:
            tell(error)
            if not begun:
                await _answer(send, 400, "the request could not be understood")


def own_names() -> set[str]:
    """Return the names of this machine, lower case."""
    return {"localhost", socket.gethostname().lower()}


def hostname(host: str) -> str:
    """Return the name or address in a Host header, lower case, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Tell whether a name is an IP address: nobody can make one mean another machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _answer(send, status, text):
    body = (text + "\n").encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def tell(error: BaseException | None) -> None:
    """Write one line about a failed request to the log, printable whatever the client sent."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    print(f"neid: demo: a request failed: {printable}", file=sys.stderr, flush=True)


def one_line_tracebacks(modules: Collection[types.ModuleType]) -> None:
    """Let modules that print tracebacks of failed requests print a line instead.

    Gradio prints one for each malformed request, and has no setting for it.
    """
    quiet = types.SimpleNamespace(
        print_exc=lambda *_, **__: tell(sys.exc_info()[1]),
        format_exc=lambda *_, **__: repr(sys.exc_info()[1]),
    )
    for module in modules:
        if hasattr(module, "traceback"):
            module.traceback = quiet
