"""Load `neid serve` on the loopback, and measure what becomes of its requests.

    python -m experiments.load --output=experiments/performance/load.json

A service is started with its defaults, and sent one dark JPEG of 600×400. Measured in turns:
pictures a second with as many clients as keep it busy, beside the network alone (`neid_tf.enhance`
on decoded pixels: in one process on all cores, and in as many processes as the service has workers,
each with its share of the cores), with the CPU time of a picture, which a busy machine hardly
changes. Then the latency at half of that load, with arrivals at random; many clients at once,
several times, and the memory after each; and a worker that is killed in the middle. What batches of
several pictures would bring is measured too: that is why there are none. The clients take some of
the same cores.
"""

import asyncio
import collections
import contextlib
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments.record import command_line, publish
from neid_tf import pictures
from neid_tf.benchmarks.timing import ratios, scene, spread
from neid_tf.commands import common
from neid_tf.inference import methods
from neid_tf.inference.enhance import Enhancement
from neid_tf.support.environment import environment
from neid_tf.support.machine import usable_cores

_SIZE = flags.DEFINE_list(
    "load_size", ["600", "400"], "Width and height of the picture, in pixels."
)
_WORKERS = min(usable_cores(), 8)  # The command's own default.
_PORT = flags.DEFINE_integer("load_port", 8099, "Port that the service listens on.")
_SECONDS = flags.DEFINE_float("load_seconds", 20.0, "Seconds of each measurement.", lower_bound=0.1)
_TURNS = flags.DEFINE_integer("load_turns", 3, "Turns of service and network alone.", lower_bound=1)
_CLIENTS = flags.DEFINE_integer("load_clients", 500, "Clients that come at once.", lower_bound=1)
_WAVES = flags.DEFINE_integer("load_waves", 4, "How often they come.", lower_bound=1)
flags.declare_key_flag("weights")
_TICKS = os.sysconf("SC_CLK_TCK")
HOST = "127.0.0.1"


class Client:
    """A connection that sends the picture again and again, with as little of its own as can be."""

    def __init__(self, body: bytes, port: int) -> None:
        head = f"POST /v1/enhance HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._message, self._port, self._streams = head.encode() + body, port, None

    async def ask(self) -> tuple[int, float]:
        """Send it once; return the status (0 for none) and the seconds it took."""
        begun = time.perf_counter()
        try:
            return await self._asked(), time.perf_counter() - begun
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return 0, time.perf_counter() - begun

    async def _asked(self):
        if not self._streams:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(self._message)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
        if b"connection: close" in head:
            self.close()
        return int(head.split()[1])

    def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._streams[1].close()
        self._streams = None


class Service:
    """The command in a process; what it and its workers take is read off `/proc`."""

    def __init__(self, body: bytes) -> None:
        self.body, self.port = body, _PORT.value
        self.weights = common.WEIGHTS.value
        command = [sys.executable, "-m", "neid_tf.commands.main", "serve", f"--port={self.port}"]
        self.process = subprocess.Popen(
            [*command, f"--weights={self.weights}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if not self.process.stdout.readline():
            raise SystemExit("the service did not start")
        while len(self.workers()) < _WORKERS:
            time.sleep(0.1)
        time.sleep(1.0)

    def workers(self) -> list[int]:
        """Return the numbers of its workers' processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in path.read_text().split()]

    def _each(self, name):
        for number in (self.process.pid, *self.workers()):
            with contextlib.suppress(OSError):
                yield Path(f"/proc/{number}/{name}").read_text()

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has taken, in all processes that live."""
        rows = [text.rpartition(")")[2].split() for text in self._each("stat")]
        return sum(int(row[11]) + int(row[12]) for row in rows) / _TICKS

    def megabytes(self) -> int:
        """Return the resident memory of all its processes."""
        pages = sum(int(text.split()[1]) for text in self._each("statm"))
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    def client(self) -> Client:
        """Return a new client."""
        return Client(self.body, self.port)

    def stop(self) -> int:
        """End it; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


async def busy(
    service: Service, clients: int, seconds: float, middle: Callable[[], None] = lambda: None
) -> tuple[collections.Counter, float]:
    """Keep it busy, each client asking again as soon as it has an answer.

    Args:
        service: that is asked.
        clients: how many.
        seconds: for how long.
        middle: is called after half of the time.

    Returns:
        How often there was each status, and the seconds it really took.
    """
    counts, begun = collections.Counter(), time.perf_counter()

    async def ask_on():
        client = service.client()
        while time.perf_counter() - begun < seconds:
            counts[(await client.ask())[0]] += 1
        client.close()

    asyncio.get_running_loop().call_later(seconds / 2, middle)
    await asyncio.gather(*(ask_on() for _ in range(clients)))
    return counts, time.perf_counter() - begun


async def at_random(service: Service, rate: float, seconds: float) -> list[tuple[int, float]]:
    """Send pictures at random moments, whether those before are answered or not.

    Args:
        service: that is asked.
        rate: pictures a second.
        seconds: for how long.
    """
    chance, asked, begun, at = random.Random(0), [], time.perf_counter(), 0.0
    while at < seconds:
        await asyncio.sleep(max(at - (time.perf_counter() - begun), 0.0))
        asked.append(asyncio.create_task(_once(service)))
        at += chance.expovariate(rate)
    return await asyncio.gather(*asked)


async def _once(service):
    client = service.client()
    result = await client.ask()
    client.close()
    return result


def alone(weights: str, threads: int | None, pixels: np.ndarray, seconds: float) -> dict:
    """Enhance one picture again and again; return pictures a second, and CPU seconds of each.

    Args:
        weights: name or path.
        threads: of the network; None for all cores.
        pixels: of the picture.
        seconds: for how long.
    """
    enhancement = Enhancement(methods.load_network(weights, "auto", threads))
    enhancement(pixels)
    begun, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < seconds:
        enhancement(pixels)
        count += 1
    rate = count / (time.perf_counter() - begun)
    return {"rate": rate, "cpu": (time.process_time() - cpu) / count}


def throughput(service: Service, pixels: np.ndarray, pool: Any) -> dict[str, Any]:
    """Return pictures a second, and CPU seconds of a picture, of the service and of the network.

    Args:
        service: that is asked.
        pixels: of the picture.
        pool: of as many processes as the service has workers.
    """
    rates, cpu, seconds = (
        collections.defaultdict(list),
        collections.defaultdict(list),
        _SECONDS.value,
    )
    workers = len(service.workers())
    threads = max(1, usable_cores() // workers)
    for _ in range(_TURNS.value):
        before = service.cpu_seconds()
        counts, took = asyncio.run(busy(service, 4 * workers, seconds))
        rates["service"].append(counts[200] / took)
        cpu["service"].append((service.cpu_seconds() - before) / counts[200])
        one = pool.apply(alone, (service.weights, None, pixels, seconds))
        jobs = [(service.weights, threads, pixels, seconds)] * workers
        several = pool.starmap(alone, jobs, chunksize=1)
        rates["one_process"].append(one["rate"])
        rates["processes"].append(sum(row["rate"] for row in several))
        cpu["one_process"].append(one["cpu"])
        cpu["processes"].append(statistics.mean(row["cpu"] for row in several))
    return {
        "workers": workers,
        "threads": threads,
        "pictures_per_second": {name: spread(values) for name, values in rates.items()},
        "cpu_seconds_per_picture": {name: spread(values) for name, values in cpu.items()},
        "ratio_to_the_network": {
            name: ratios(rates["service"], rates[name]) for name in ("one_process", "processes")
        },
        "ratio_in_cpu_time": {
            name: ratios(cpu[name], cpu["service"]) for name in ("one_process", "processes")
        },
    }


def latency(service: Service, rate: float) -> dict[str, Any]:
    """Return the latency at a rate of pictures a second."""
    asked = asyncio.run(at_random(service, rate, 2 * _SECONDS.value))
    seconds = np.array([took for _, took in asked])
    statuses = collections.Counter(status for status, _ in asked)
    shares = {f"p{share}_ms": 1e3 * np.percentile(seconds, share).item() for share in (50, 95, 99)}
    return {"rate": rate, "requests": len(asked), "statuses": _described(statuses)} | shares


def crowd(service: Service) -> dict[str, Any]:
    """Return what many clients at once are answered, and the memory after each time they came."""
    rows = []

    async def wave():
        return await asyncio.gather(*(_once(service) for _ in range(_CLIENTS.value)))

    for _ in range(_WAVES.value):
        begun, done = time.perf_counter(), asyncio.run(wave())
        row = {"statuses": _described(collections.Counter(status for status, _ in done))}
        row |= {"seconds": time.perf_counter() - begun, "megabytes": service.megabytes()}
        rows.append(row)
    return {"clients": _CLIENTS.value, "waves": rows}


def killed(service: Service) -> dict[str, Any]:
    """Return what clients get while a worker is killed in the middle."""
    victim, workers = service.workers()[0], len(service.workers())

    def kill():
        os.kill(victim, signal.SIGKILL)

    counts, _ = asyncio.run(busy(service, 8 * workers, _SECONDS.value, kill))
    time.sleep(2.0)
    replaced = victim not in service.workers() and len(service.workers()) == workers
    return {"clients": 8 * workers, "statuses": _described(counts), "replaced": replaced}


def batches(weights: str, pixels: np.ndarray) -> dict[str, float]:
    """Return the CPU seconds of a picture where several go through the network together.

    Args:
        weights: name or path.
        pixels: of the picture.
    """
    network = methods.load_network(weights, "auto", 1)
    one, rows = Enhancement(network).prepare(pixels), {}
    for count in (1, 2, 4, 8):
        batch, full = (np.repeat(array, count, axis=0) for array in (one, pixels[None]))
        network(batch, full)
        begun = time.process_time()
        for _ in range(max(16 // count, 1)):
            network(batch, full)
        rows[str(count)] = (time.process_time() - begun) / (count * max(16 // count, 1))
    return rows


def _described(statuses):
    """Return statuses as JSON has them; no answer at all is told by name."""
    return {str(status or "no answer"): count for status, count in sorted(statuses.items())}


def main(_: list[str]) -> None:
    """Measure, print, write."""
    width, height = map(int, _SIZE.value)
    pixels, started = scene(height, width), time.time()
    body = pictures.encode("a.jpg", pictures.Picture(pixels))
    service, workers, report = Service(body), _WORKERS, {"bytes": len(body)}
    try:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            report["throughput"] = throughput(service, pixels, pool)
            report["batches_cpu_seconds"] = pool.apply(batches, (service.weights, pixels))
        rate = report["throughput"]["pictures_per_second"]["service"]["median"]
        report["half_load"] = latency(service, rate / 2)
        report["megabytes_before"] = service.megabytes()
        report["crowd"], report["killed"] = crowd(service), killed(service)
    finally:
        report["exit_code"] = service.stop()
    fields = {"environment": environment(), "load_average": os.getloadavg()}
    fields |= {"weights": service.weights, "size": [width, height]} | report
    fields["seconds"] = round(time.time() - started)
    fields["command"] = command_line(__name__, "experiments.load")
    publish(fields)


if __name__ == "__main__":
    app.run(main)
