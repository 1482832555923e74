"""Which names and addresses are this machine's, and whose requests a local server takes."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

HEADER = "latin-1"
"""How the headers of HTTP are encoded."""


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


def is_loopback(host: str) -> bool:
    """Tell whether a server that listens on a host is reached from this machine alone.

    Args:
        host: name or address; that of IPv6 with brackets or without.
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def refusal(headers: Mapping[bytes, bytes], names: Collection[str]) -> str:
    """Return why a request is refused, or an empty text.

    A page of another site could otherwise reach a server through the browser of somebody who
    visits that site: by a request across sites (its Origin is foreign), or under a name that was
    made to mean this machine (its Host is foreign).

    Args:
        headers: of the request, their names in lower case.
        names: that the server may be asked for, in lower case; addresses always may.
    """
    host = headers.get(b"host", b"").decode(HEADER)
    name = hostname(host)
    if name not in names and not is_address(name):
        return "this server does not answer under that name"
    origin = headers.get(b"origin")
    if origin is not None and _netloc(origin.decode(HEADER)) != host.lower():
        return "pages of other sites may not use this server"
    return ""


def _netloc(address: str) -> str:
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:
        return ""
