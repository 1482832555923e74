"""Flags of the commands that listen for requests."""

import errno

from absl import flags

from neid_tf.commands.common import Failure
from neid_tf.support.errors import reason_of

HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to listen on. With another than 127.0.0.1 other machines can reach it: then neid "
    "serve wants keys, and neid demo, which asks for no password, lets everybody use the page.",
)
PORT = flags.DEFINE_integer(
    "port",
    None,
    "Port to listen on. (default: 7860 for neid demo, 8080 for neid serve)",
    lower_bound=1,
    upper_bound=65535,
)
NAMES = flags.DEFINE_list(
    "names",
    [],
    "Names that may be asked for, beside this machine's own, as where a proxy serves it. Requests "
    "under another name, and those that pages of other sites send, are refused; not so where "
    "clients have keys.",
)
MAX_UPLOAD = flags.DEFINE_integer(
    "max_upload",
    None,
    "The largest upload taken, in MiB. (default: 100 for neid demo, 64 for neid serve)",
    lower_bound=1,
)
FLAGS = (HOST, PORT, NAMES, MAX_UPLOAD)


def taken(error: OSError, port: int) -> Failure:
    """Return what is told where nothing can be listened on.

    Args:
        error: what was raised.
        port: that was tried.
    """
    reason = reason_of(error)
    if error.errno in (None, errno.EADDRINUSE, errno.EADDRNOTAVAIL):
        reason = "the port is taken, or the address is not of this machine"
    failure = Failure(f"cannot listen on --host={HOST.value} --port={port}: {reason}")
    failure.__cause__ = error
    return failure
