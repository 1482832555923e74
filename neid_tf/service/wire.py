"""Messages between the front and a worker: a few facts in JSON, and a file's content."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, BinaryIO

_SIZES = struct.Struct(">IQ")


def packed(facts: dict[str, Any], content: bytes = b"") -> list[bytes]:
    """Return the parts of a message.

    Args:
        facts: what JSON can hold.
        content: any bytes.
    """
    head = json.dumps(facts).encode()
    return [_SIZES.pack(len(head), len(content)) + head, content]


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Return the next message of a stream; None at its end."""
    sizes = stream.read(_SIZES.size)
    if len(sizes) < _SIZES.size:
        return None
    head, content = (stream.read(size) for size in _SIZES.unpack(sizes))
    return json.loads(head), content


async def received(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """Return the next message of a pipe; None where it has ended, in a message or between two."""
    try:
        head, content = _SIZES.unpack(await reader.readexactly(_SIZES.size))
        return json.loads(await reader.readexactly(head)), await reader.readexactly(content)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
