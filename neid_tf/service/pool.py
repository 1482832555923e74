"""The workers behind the front: which picture goes to which, and what becomes of one that dies."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import math
import sys
import time
from typing import Any

from neid_tf.service import wire, worker
from neid_tf.service.configuration import Configuration
from neid_tf.service.errors import Refused
from neid_tf.service.log import log
from neid_tf.support.errors import NeidError, reason_of

# Seconds before a worker that dies at once, or can't be started, is replaced: twice as many each
# time.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_LAST_WORDS = 5.0  # seconds that an idle worker has to end by itself
_BUFFER = 2**20
_WEIGHT = 0.1  # of the latest picture in the mean time of one


@dataclasses.dataclass(eq=False)
class Task:
    """A picture that waits for a worker, or has one.

    Attributes:
        facts: what the worker is told; see :meth:`neid_tf.service.worker._Networks.answer`.
        content: the picture's file.
        answer: facts and content of the worker's answer.
        worker: which has it; None while it waits.
        entered: when it came.
        begun: when a worker began it.
    """

    facts: dict[str, Any]
    content: bytes
    answer: asyncio.Future
    worker: Worker | None = None
    entered: float = dataclasses.field(default_factory=time.monotonic)
    begun: float = 0.0


class Worker:
    """The front's side of a worker.

    Attributes:
        task: what it does, or None.
        done: how many it has done.
    """

    def __init__(self, process: asyncio.subprocess.Process, number: int) -> None:
        self.process, self.number, self.task, self.done = process, number, None, 0

    @classmethod
    async def start(cls, configuration: Configuration, number: int) -> Worker:
        """Start a process, and tell it what it needs.

        Args:
            configuration: of the service.
            number: tells it from the others, from 1.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", worker.COMMAND, *sys.path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_BUFFER,
        )
        made = cls(process, number)
        fields = ("threads", "max_pixels")
        given = {name: getattr(configuration, name) for name in fields}
        made._send(given | {"weights": dict(configuration.weights)})
        return made

    def _send(self, facts, content=b""):
        # Where it has died, the end of its answers tells.
        with contextlib.suppress(ConnectionError, RuntimeError):
            self.process.stdin.writelines(wire.packed(facts, content))

    def begin(self, task: Task) -> None:
        """Give it a task."""
        self.task, task.worker, task.begun = task, self, time.monotonic()
        self._send(task.facts, task.content)
        task.content = b""

    async def received(self) -> tuple[dict[str, Any], bytes] | None:
        """Return its next answer; None where it has ended."""
        return await wire.received(self.process.stdout)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def end(self) -> None:
        """Let it end, now that it has nothing to do."""
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), _LAST_WORDS)
        except asyncio.TimeoutError:
            self.kill()
            await self.process.wait()


class Pool:
    """Some workers, and a bounded line of pictures that wait for them.

    A worker that dies is replaced; the picture that it had is answered by a 503. All methods
    belong to one event loop.

    Attributes:
        waiting: what waits, the first first.
        idle: workers that wait.
        alive: all that have loaded the network.
        lost: how many have died.
        seconds: the mean time of a picture, of late.
        closing: whether nothing new is to come.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.waiting: collections.deque[Task] = collections.deque()
        self.idle: list[Worker] = []
        self.alive: set[Worker] = set()
        self.lost, self.seconds = 0, 0.5
        self.closing = self.stopping = False
        self._keepers: list[asyncio.Task] = []

    async def start(self) -> None:
        """Start the workers, and wait for the first; once is enough.

        Raises:
            NeidError: where it cannot load the network.
        """
        if self._keepers:
            return
        first = asyncio.get_running_loop().create_future()
        count = self.configuration.workers
        self._keepers = [asyncio.create_task(self._keep(n + 1, first)) for n in range(count)]
        try:
            await first
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the workers; what they have is answered by a 503."""
        self.closing = self.stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for task in self.waiting:
            _fail(task, "the service is ending")
        self.waiting.clear()

    @property
    def is_ready(self) -> bool:
        """Whether a worker is there for what comes."""
        return bool(self.alive) and not self.closing

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken."""
        return not self.idle and len(self.waiting) >= self.configuration.max_queue

    @property
    def busy(self) -> int:
        """How many workers have a picture."""
        return sum(worker.task is not None for worker in self.alive)

    def full(self) -> Refused:
        """Return the refusal of one who comes while it is full."""
        pause = len(self.waiting) * self.seconds / self.configuration.workers
        return Refused(429, "too many pictures are waiting", max(1, math.ceil(pause)))

    async def enhance(
        self, facts: dict[str, Any], content: bytes, timeout: float
    ) -> tuple[dict[str, Any], bytes]:
        """Let a worker enhance a picture; where it is given up, so is its place in the line.

        Args:
            facts: the fields of :class:`neid_tf.service.settings.Settings`.
            content: the picture's file.
            timeout: in seconds.

        Returns:
            Facts of the answer (``notes``, ``seconds``, ``pixels``, ``waited``, ``worker``), and
            the enhanced file.

        Raises:
            Refused: where the line is full, the time is over, the worker dies, or the picture
                cannot be enhanced.
        """
        if self.is_full:
            raise self.full()
        task = Task(facts, content, asyncio.get_running_loop().create_future())
        if self.idle:
            self.idle.pop().begin(task)
        else:
            self.waiting.append(task)
        try:
            answer, made = await asyncio.wait_for(task.answer, timeout)
        except asyncio.TimeoutError:
            if not task.answer.done() or task.answer.cancelled():
                raise self._over(task) from None
            answer, made = task.answer.result()  # It came in the same turn of the loop.
        except asyncio.CancelledError:
            # Whoever asked has gone; the worker's time is not without end for that.
            left = task.entered + timeout - time.monotonic()
            asyncio.get_running_loop().call_later(max(left, 0.0), self._give_up, task)
            raise
        finally:
            with contextlib.suppress(ValueError):
                self.waiting.remove(task)
        if answer["status"] != 200:
            if "traceback" in answer:
                log("fault", traceback=answer["traceback"])
            raise Refused(answer["status"], answer["error"])
        waited = task.begun - task.entered
        return answer | {"waited": waited, "worker": task.worker.number}, made

    def _over(self, task):
        """Return the refusal of a task whose time is over; a worker that has it is replaced."""
        if task.worker is None:
            return Refused(503, "no worker was free in time", headers=self.full().headers)
        if task.worker.task is task:  # It may have the next one by now.
            log("timeout", worker=task.worker.number, pid=task.worker.process.pid)
            task.worker.kill()
        return Refused(504, "the picture took too long")

    def _give_up(self, task):
        """Replace the worker that still has a task whose time is over."""
        if task.worker and task.worker.task is task:
            self._over(task)

    async def _keep(self, number, first):
        """Keep one worker alive."""
        pause = 0.0
        while True:
            try:
                one = await Worker.start(self.configuration, number)
            except OSError as error:  # Such as no memory for a process now.
                done, reason = 0, reason_of(error)
                log("worker not started", level="error", worker=number, reason=reason)
                if not first.done():
                    first.set_exception(NeidError(f"no worker could be started: {reason}"))
            else:
                done = await self._life_of(one, first)
            pause = 0.0 if done else min(2 * pause or _SHORTEST_PAUSE, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _life_of(self, one, first):
        """Attend to a worker until it has ended; return how many pictures it has done."""
        try:
            await self._attend(one, first)
        finally:
            self._leave(one)
            if self.stopping:
                await one.end()
        code, self.lost = await one.process.wait(), self.lost + 1
        log("worker lost", level="error", worker=one.number, pid=one.process.pid, code=code)
        return one.done

    async def _attend(self, one, first):
        """Take a worker's answers, until it ends."""
        while (message := await one.received()) is not None:
            facts, content = message
            if "failed" in facts:
                log("worker failed", level="error", worker=one.number, reason=facts["failed"])
                if not first.done():
                    first.set_exception(NeidError(facts["failed"]))
                continue
            if worker.READY in facts:
                self.alive.add(one)
                log("worker ready", worker=one.number, pid=one.process.pid)
                if not first.done():
                    first.set_result(None)
            else:
                self._finish(one, facts, content)
            self._take_next(one)
        if not first.done() and not self.alive:
            first.set_exception(NeidError("the first worker died before it was ready"))

    def _finish(self, one, facts, content):
        task, one.task = one.task, None
        one.done += 1
        self.seconds += _WEIGHT * (time.monotonic() - task.begun - self.seconds)
        if not task.answer.done():  # It may have been given up.
            task.answer.set_result((facts, content))

    def _take_next(self, one):
        if self.waiting:
            one.begin(self.waiting.popleft())
        else:
            self.idle.append(one)

    def _leave(self, one):
        """Note that a worker is no more."""
        self.alive.discard(one)
        if one in self.idle:
            self.idle.remove(one)
        if one.task:
            _fail(one.task, "the worker that had the picture died; try again")


def _fail(task: Task, reason: str) -> None:
    if not task.answer.done():
        task.answer.set_exception(Refused(503, reason, 1))
