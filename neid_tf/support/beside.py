"""Computing beside each other what comes in order."""

import collections
import concurrent.futures
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator


def in_order(
    function: Callable, calls: Iterable[tuple], beside: int, ahead: int | None = None
) -> Iterator:
    """Yield what a function returns for each call, in their order.

    Args:
        function: is called from ``beside`` threads, where that is more than 1.
        calls: the arguments of each call. They are asked for in the caller's thread.
        beside: how many are computed at a time.
        ahead: how many are begun before the first is waited for; None for as many as ``beside``.

    Raises:
        Exception: whatever ``function`` or ``calls`` raises, in its place in the order.
    """
    if beside < 2:
        yield from (function(*arguments) for arguments in calls)
        return
    ahead = beside if ahead is None else ahead
    pending, failed, given = collections.deque(), None, iter(calls)
    with contextlib.closing(_Threads(beside)) as threads:
        while True:
            try:
                arguments = next(given, None)
            except Exception as error:  # What was asked for before comes first.
                failed = error
                break
            if arguments is None:
                break
            pending.append(threads.begin(function, arguments))
            del arguments
            if len(pending) > ahead:
                yield pending.popleft()()
        while pending:
            yield pending.popleft()()
    if failed:
        raise failed


class _Threads:
    """Threads that are begun when they are needed, or none where there can be none any more."""

    def __init__(self, count):
        self._count, self._pool = count, None

    def begin(self, function, arguments):
        """Return what waits for the result of a call."""
        try:
            if not self._pool:
                self._pool = concurrent.futures.ThreadPoolExecutor(self._count, "neid-beside")
            return self._pool.submit(function, *arguments).result
        except RuntimeError:  # The program is ending, or there are too many threads.
            return functools.partial(function, *arguments)

    def close(self):
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
