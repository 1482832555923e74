"""Computing beside each other what comes in order."""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator


def in_order(function: Callable, calls: Iterable[tuple], beside: int) -> Iterator:
    """Yield what a function returns for each call, in their order.

    Args:
        function: is called from ``beside`` threads, where that is more than 1.
        calls: the arguments of each call. They are asked for in the caller's thread, one ahead of
            what is being computed.
        beside: how many are computed at a time.

    Raises:
        Exception: whatever ``function`` or ``calls`` raises, in its place in the order.
    """
    if beside < 2:
        yield from (function(*arguments) for arguments in calls)
        return
    pool = concurrent.futures.ThreadPoolExecutor(beside, "neid-beside")
    pending = collections.deque()
    try:
        for arguments in calls:
            pending.append(pool.submit(function, *arguments))
            del arguments
            if len(pending) > beside:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
