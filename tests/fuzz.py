"""Feeds mutated files to what reads them, and looks for what must not happen.

    python -m tests.fuzz [--files=2000] [--seed=0] [--keep=FOLDER]

Pictures are read, all their pages too, and written again; weights and lists of names are read. A
file may be refused, in one line. It must not
crash the interpreter, raise anything else, hang, or take more memory or time than the pixels that
are allowed. The same seed gives the same files. What is found is printed, and kept in the folder.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.pictures import seeds

MAX_PIXELS = 1_000_000
"""The pixels that the reader is told to allow."""
MOST_BYTES = 8 * 8 * MAX_PIXELS + 2**26
"""How much a file may add to the process's memory at its peak: decoded, converted, encoded."""
MOST_SECONDS = 10.0
"""How much processor time a file may take."""
SILENCE = 120.0
"""After so many seconds without a word a process is taken to hang."""
VALUES = (
    0,
    1,
    2,
    3,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    2**32 - 1,
)


KINDS = (*sorted(seeds.SOUND), *sorted(seeds.OTHERS))
"""The kinds of files that are mutated, one after the other."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that must not happen.

    Attributes:
        number: of the file; with the seed it tells which.
        kind: the seed file it was made of.
        problem: what happened.
    """

    number: int
    kind: str
    problem: str


def mutated(number: int, seed: int) -> tuple[str, bytes]:
    """Return the kind and the content of a file: a sound one with one to four mutations."""
    rng = np.random.default_rng([seed, number])
    name = KINDS[number % len(KINDS)]
    data = bytearray((seeds.SOUND | seeds.OTHERS)[name])
    for _ in range(int(rng.integers(1, 5))):
        _MUTATIONS[rng.integers(len(_MUTATIONS))](data, rng)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and rng.random() < 0.7:
        data = _with_checksums(data)
    return name, bytes(data)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Return a place, more often near the start or the end, where headers lie."""
    spread = min(len(data), 400)
    kind = rng.random()
    if kind < 0.5:
        return int(rng.integers(0, max(spread, 1)))
    if kind < 0.7:
        return len(data) - 1 - int(rng.integers(0, max(spread, 1)))
    return int(rng.integers(0, max(len(data), 1)))


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    if data:
        data[min(max(_place(data, rng), 0), len(data) - 1)] ^= 1 << int(rng.integers(8))


def _overwrite(data: bytearray, rng: np.random.Generator) -> None:
    value, order = VALUES[rng.integers(len(VALUES))], "<>"[rng.integers(2)]
    packed = struct.pack(order + "I", value)
    size = int(rng.choice([1, 2, 4]))
    packed = packed[:size] if order == "<" else packed[-size:]
    at = _place(data, rng)
    data[at : at + size] = packed


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    del data[at : at + int(rng.integers(1, 64))]


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + int(rng.integers(1, 200))] * int(rng.integers(1, 20))


def _insert(data: bytearray, rng: np.random.Generator) -> None:
    data[_place(data, rng) : 0] = rng.bytes(int(rng.integers(1, 40)))


def _splice(data: bytearray, rng: np.random.Generator) -> None:
    names = sorted(seeds.SOUND)
    other = seeds.SOUND[names[rng.integers(len(names))]]
    at = int(rng.integers(0, len(other)))
    data[_place(data, rng) :] = other[at:]


_MUTATIONS = (
    _flip,
    _flip,
    _overwrite,
    _overwrite,
    _overwrite,
    _cut,
    _remove,
    _repeat,
    _insert,
    _splice,
)


def _with_checksums(data: bytearray) -> bytearray:
    """Return a PNG with checksums that fit, so that what was changed is looked at."""
    at, data = 8, bytearray(data)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data


def problem_of(data: bytes, kind: str = "") -> str:
    """Do all that can be done with a file of a kind; return what must not happen, or nothing."""
    resident = _resident("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    started = time.process_time()
    done = {"weights": _read_weights, "list of names": _read_names}.get(kind, _done)
    problem = done(data)
    seconds, peak = time.process_time() - started, _resident("VmHWM") - resident
    if not problem and seconds > MOST_SECONDS:
        problem = f"took {seconds:.1f} s"
    if not problem and peak > MOST_BYTES:
        problem = f"took {peak / 2**20:.0f} MB"
    return problem


def _done(data: bytes) -> str:
    from neid_tf import pictures
    from neid_tf.pictures import formats

    try:
        pictures.count_pixels(data)
        picture = pictures.decode("a.bin", data, MAX_PIXELS)
        if picture.pixels[..., 0].size > MAX_PIXELS:
            return f"{picture.pixels.shape} is over the limit"
        doubled = picture.with_pixels(picture.pixels)
        own = formats.FORMATS[picture.format].suffixes[0]
        for suffix in {pictures.written_suffix(f"a{own}"), ".png"}:
            pictures.left_out(f"b{suffix}", picture)
            for metadata in pictures.METADATA:
                again = pictures.encode(f"b{suffix}", doubled, metadata)
            pictures.decode("b", again)
        pages = pictures.decode_all("a.bin", data, MAX_PIXELS)
        if picture.pages > 1 and pictures.holds_all("b.tif", picture):
            pictures.encode_all("b.tif", pages)
        else:
            for _ in pages:
                pass
        if picture.format == "TIFF":
            return _refused_in_a_line(data, _read_by_windows)
    except pictures.PictureError as error:
        return "" if str(error).isprintable() else f"a message of several lines: {error!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _read_by_windows(path: Path) -> None:
    from neid_tf.pictures.windows import Windows

    if importlib.util.find_spec("rasterio"):
        with Windows(path) as source:
            for rows in source.bands():
                source.read_across(rows)


def _read_weights(data: bytes) -> str:
    from neid_tf.models.weights_file import WeightsFile

    def read(path: Path) -> None:
        with WeightsFile(path) as file:
            file.check_size()
            file.arrays(seeds.WEIGHTS)

    return _refused_in_a_line(data, read)


def _read_names(data: bytes) -> str:
    from neid_tf.data.held_out import names_in

    return _refused_in_a_line(data, lambda path: names_in(str(path), seeds.NAMES))


def _refused_in_a_line(data: bytes, read: Callable[[Path], object]) -> str:
    from neid_tf.support.errors import NeidError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(data)
        try:
            read(path)
        except NeidError as error:
            lines = str(error).splitlines()
            return "" if all(map(str.isprintable, lines)) else f"not printable: {error!r}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return ""


def _resident(field: str) -> int:
    """Return a field of this process's memory in bytes; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


def serve(first: int, last: int, seed: int) -> None:
    """Try files one by one, in a process of its own; say each number before and what was found."""
    problem_of(next(iter(seeds.SOUND.values())))  # Libraries that are loaded do not count.
    for number in range(first, last):
        print(f"{number}", flush=True)
        kind, data = mutated(number, seed)
        if problem := problem_of(data, kind):
            print(f"{number} {' '.join(problem.split())}", flush=True)


def run(files: int, seed: int) -> list[Finding]:
    """Try so many files; return what was found."""
    found, first = [], 0
    while first < files:
        command = [sys.executable, "-m", "tests.fuzz", f"--serve={first}:{files}:{seed}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            reached, problems, noise = _watched(child)
        found += [Finding(n, mutated(n, seed)[0], problem) for n, problem in problems]
        if noise:
            found.append(Finding(reached, mutated(reached, seed)[0], f"on stderr: {noise}"))
        if reached + 1 < files or child.returncode:
            if child.returncode:
                how = f"the process ended with {child.returncode}"
                found.append(Finding(reached, mutated(reached, seed)[0], how))
            first = reached + 1
        else:
            first = files
    return found


def _watched(child: subprocess.Popen) -> tuple[int, list[tuple[int, str]], str]:
    """Follow a process; return the last file it took up, its findings, and its stderr's end."""
    import threading

    reached, problems, spoke = 0, [], [time.monotonic()]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            if time.monotonic() - spoke[0] > SILENCE:
                child.kill()
                return

    noise = io.BytesIO()
    reader = threading.Thread(target=lambda: noise.write(child.stderr.read()))
    threads = [threading.Thread(target=watch, daemon=True), reader]
    for thread in threads:
        thread.start()
    for line in child.stdout:
        spoke[0] = time.monotonic()
        number, _, problem = line.decode("utf-8", "replace").strip().partition(" ")
        reached = int(number)
        if problem:
            problems.append((reached, problem))
    child.wait()
    ended.set()
    reader.join()
    said = noise.getvalue().decode("utf-8", "replace").splitlines()
    # LibRaw prints of damaged files; neid drops what native code prints.
    said = [line for line in said if not line.startswith("unknown file: ")]
    return reached, problems, "\n".join(said).strip()[-300:]


def main() -> int:
    """Try the files that the arguments ask for; print what was found and return 1 if anything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000, help="How many mutated files to try.")
    parser.add_argument("--seed", type=int, default=0, help="Of the mutations.")
    parser.add_argument(
        "--keep", type=Path, help="A folder for the files that something was found in."
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*map(int, arguments.serve.split(":")))
        return 0
    found = run(arguments.files, arguments.seed)
    for finding in found:
        print(f"{finding.number} ({finding.kind}): {finding.problem}")
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            data = mutated(finding.number, arguments.seed)[1]
            (arguments.keep / f"{arguments.seed}-{finding.number}").write_bytes(data)
    print(f"{arguments.files} files, seed {arguments.seed}: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
