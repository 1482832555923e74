"""Reading and writing beside the computing: order, errors, bounds, interruptions."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from neid_tf import models, pictures
from neid_tf.inference import tiles
from neid_tf.inference.enhance import Enhancement
from neid_tf.jobs import pipeline
from neid_tf.jobs.plan import Job
from neid_tf.jobs.transfer import Transfer
from neid_tf.pictures import PictureError
from tests.conftest import darkened, picture, write


class Memory:
    """Files of a dictionary that notes what is going on."""

    def __init__(self, sizes):
        self.sizes, self.written, self.events = sizes, {}, []
        self.lock, self.under_way, self.most = threading.Lock(), 0, 0

    def check(self, job):
        if os.path.basename(job.source).startswith("there"):
            raise PictureError(job.target, "is there already")

    def read(self, job):
        self.events.append(("read", os.path.basename(job.source)))
        data = pictures.encode(
            "x.bmp", pictures.Picture(picture(*self.sizes[os.path.basename(job.source)]))
        )
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        return data

    def write(self, job, data):
        if os.path.basename(job.source).startswith("full"):
            raise PictureError(job.target, "no space left on device")
        self.written[os.path.basename(job.source)] = data
        self.events.append(("write", os.path.basename(job.source)))
        with self.lock:
            self.under_way -= 1


def jobs_of(names, root):
    return [Job(str(root / name), str(root / "out" / name)) for name in names]


def enhance_pictures(jobs, function, **options):
    return pipeline.enhance_files(jobs, function, Transfer(), **options)


def threads_since(before):
    """Return the names of the program's threads that were not among those before."""
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    return {name for name in names if name.startswith("neid")}


def invert(pixels):
    return 255 - pixels


def test_nothing_is_kept_while_a_picture_is_encoded(tmp_path, monkeypatch):
    """The samples with their alpha are a copy, and all that is needed then."""
    pixels = darkened(picture(20, 30))
    there = pictures.Picture(pixels, alpha=np.full(pixels.shape[:2], 200, np.uint8))
    pictures.write(tmp_path / "a.png", there)
    made, kept, encode = [], [], pictures.encode_stored

    def function(pixels):
        enhanced = invert(pixels)
        made.extend(map(weakref.ref, (pixels, enhanced)))
        return enhanced

    def encode_stored(path, stored):
        kept.extend(array() is not None for array in made)
        return encode(path, stored)

    monkeypatch.setattr(pictures, "encode_stored", encode_stored)
    [outcome] = enhance_pictures(jobs_of(["a.png"], tmp_path), function)
    assert outcome.error is None
    assert kept == [False, False]
    written = pictures.read(tmp_path / "out" / "a.png")
    np.testing.assert_array_equal(written.pixels, 255 - pixels)
    assert (written.alpha == 200).all()


def test_pictures_are_decoded_while_what_computes_them_is_made(tmp_path, monkeypatch):
    names = [f"{n}.bmp" for n in range(3)]
    memory, decoded, decode = Memory(dict.fromkeys(names, (8, 8))), threading.Event(), None

    def noted(*arguments):
        picture = decode(*arguments)
        decoded.set()
        return picture

    def make():
        assert decoded.wait(60)
        return invert

    decode = pictures.decode
    monkeypatch.setattr(pictures, "decode", noted)
    made = pipeline.Made(make)
    outcomes = list(pipeline.enhance_files(jobs_of(names, tmp_path), made, memory))
    assert [error for _, error, _ in outcomes] == [None] * 3
    assert sorted(memory.written) == names


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_can_not_be_made_ends_all(tmp_path, kind):
    sizes = {f"{n}.bmp": (1100, 1000 + n) for n in range(9)}
    memory, before = Memory(sizes), threading.enumerate()

    def make():
        time.sleep(0.2)
        raise kind("no weights")

    with pytest.raises(kind, match="no weights"):
        list(pipeline.enhance_files(jobs_of(sizes, tmp_path), pipeline.Made(make), memory))
    assert memory.written == {}
    assert threads_since(before) == set()


def test_order_and_errors_of_every_stage(tmp_path):
    names = [f"{n}.bmp" for n in range(20)]
    names[3], names[7], names[11] = "there.bmp", "full.bmp", "refused.bmp"
    sizes = {name: (8, 10 + n) for n, name in enumerate(names)}
    memory = Memory(sizes)

    def function(pixels):
        if pixels.shape[1] == 21:
            raise ValueError("too large for this model")
        return invert(pixels)

    outcomes = list(pipeline.enhance_files(jobs_of(names, tmp_path), function, memory))
    assert [os.path.basename(job.source) for job, *_ in outcomes] == names
    failed = {os.path.basename(job.source): error.reason for job, error, _ in outcomes if error}
    targets = {os.path.basename(job.source): job.target for job, *_ in outcomes}
    assert failed == {
        "there.bmp": f"{targets['there.bmp']}: is there already",
        "full.bmp": f"{targets['full.bmp']}: no space left on device",
        "refused.bmp": "too large for this model",
    }
    assert all(isinstance(error, PictureError) for _, error, _ in outcomes if error)
    assert set(memory.written) == set(names) - set(failed)
    for name, data in memory.written.items():
        expected = 255 - picture(*sizes[name])
        np.testing.assert_array_equal(pictures.decode(name, data).pixels, expected)


def test_files_are_read_and_written_while_another_is_computed(tmp_path):
    memory = Memory({f"{n}.bmp": (8, 10 + n) for n in range(6)})
    ahead, behind, calls = threading.Event(), threading.Event(), itertools.count(1)

    def function(pixels):
        if next(calls) == 3:  # Whichever it is: what is decoded first is computed first.
            # While it is computed, the last is read and one of those before it is written.
            wait_for(lambda: ("read", "5.bmp") in memory.events, ahead)
            wait_for(lambda: "write" in dict(memory.events), behind)
        return invert(pixels)

    list(pipeline.enhance_files(jobs_of(memory.sizes, tmp_path), function, memory))
    assert ahead.is_set()
    assert behind.is_set()


def wait_for(condition, event, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    if condition():
        event.set()


@pytest.mark.parametrize(("most", "together"), [(80, 1), (100, 1), (250, 2), (10**6, 12)])
def test_pictures_under_way_are_bounded_by_their_pixels(tmp_path, monkeypatch, most, together):
    monkeypatch.setattr(pipeline, "MOST_PIXELS", most)
    monkeypatch.setattr(pipeline, "_LEAST_PIXELS", 10)
    memory = Memory({f"{n}.bmp": (10, 10) for n in range(12)})

    def slow(pixels):
        time.sleep(0.02)
        return invert(pixels)

    outcomes = list(pipeline.enhance_files(jobs_of(memory.sizes, tmp_path), slow, memory))
    assert [error for _, error, _ in outcomes] == [None] * 12
    # One more has been read, and waits to be decoded.
    assert memory.most <= together + 1
    assert memory.under_way == 0


def test_small_pictures_are_computed_together_and_large_ones_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_LEAST_PIXELS", 100)
    sizes = {f"{n}.bmp": (20, 30) if n in (5, 9) else (10, 10 - n % 2) for n in range(16)}
    lock, computed, beside = threading.Lock(), [], []

    def function(pixels):
        with lock:
            computed.append(pixels.shape[0])
            beside.append(list(computed))
        time.sleep(0.05)
        with lock:
            beside.append(list(computed))
            computed.remove(pixels.shape[0])
        return invert(pixels)

    memory = Memory(sizes)
    outcomes = list(pipeline.enhance_files(jobs_of(sizes, tmp_path), function, memory, threads=3))
    assert [error for _, error, _ in outcomes] == [None] * 16
    assert beside[0] == beside[1]  # The first is computed alone.
    assert max(map(len, beside)) == 3
    assert all(heights == [20] for heights in beside if 20 in heights)


class Counting:
    """Tells which of its two forms computed which heights."""

    def __init__(self, noted, one_core=False):
        self.noted, self.one_core = noted, one_core

    def on_one_core(self):
        return Counting(self.noted, one_core=True)

    def prepare(self, pixels):
        return pixels

    def compute(self, pixels, _):
        self.noted.append((pixels.shape[0], self.one_core))
        return invert(pixels)


@pytest.mark.parametrize("threads", [1, 2])
def test_small_pictures_take_one_core_each(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(pipeline, "_LEAST_PIXELS", 100)
    sizes = {f"{n}.bmp": (20, 30) if n in (5, 9) else (10, 10) for n in range(16)}
    noted, memory = [], Memory(sizes)
    jobs = jobs_of(sizes, tmp_path)
    outcomes = list(pipeline.enhance_files(jobs, Counting(noted), memory, threads=threads))
    assert [error for _, error, _ in outcomes] == [None] * 16
    assert noted[0] == (10, False)  # It is computed alone.
    expected = [(10, threads > 1)] * 13 + [(20, False)] * 2
    assert sorted(noted[1:]) == sorted(expected)


class Meanwhile(Counting):
    """Is not prepared before its form for one core has been asked for."""

    def __init__(self, noted):
        super().__init__(noted)
        self.asked = threading.Event()

    def on_one_core(self):
        self.asked.set()
        return super().on_one_core()

    def prepare(self, pixels):
        assert self.asked.wait(30 if pixels.shape[0] == 20 else 0) == (pixels.shape[0] == 20)
        return pixels


@pytest.mark.parametrize("height", [10, 20])
def test_what_tiles_need_is_made_while_a_large_picture_is_decoded(tmp_path, monkeypatch, height):
    monkeypatch.setattr(pipeline, "_LEAST_PIXELS", 100)
    memory, jobs = Memory({"a.bmp": (height, 10)}), jobs_of(["a.bmp"], tmp_path)
    outcomes = list(pipeline.enhance_files(jobs, Meanwhile([]), memory))
    assert [error for _, error, _ in outcomes] == [None]


@pytest.mark.parametrize("format", ["bmp", "jpg", "png", "tif", "webp"])
def test_pixels_are_counted_without_decoding(format):
    data = pictures.encode(f"x.{format}", pictures.Picture(picture(30, 41)))
    assert pictures.count_pixels(data) == 30 * 41
    assert pictures.count_pixels(data[:20]) == 0
    assert pictures.count_pixels(b"text") == 0


def test_a_job_that_reads_what_another_writes_comes_after_it(tmp_path):
    write(tmp_path / "a.png", picture(20, 30))
    jobs = [
        Job(str(tmp_path / "a.png"), str(tmp_path / "b.png")),
        Job(str(tmp_path / "b.png"), str(tmp_path / "c.png")),
    ]
    assert [error for _, error, _ in enhance_pictures(jobs, invert)] == [None, None]
    np.testing.assert_array_equal(pictures.read(tmp_path / "c.png").pixels, picture(20, 30))


def test_when_it_is_to_stop_what_has_begun_is_finished_and_told(tmp_path):
    names = [f"{n}.bmp" for n in range(30)]
    memory = Memory({name: (8, 10 + n) for n, name in enumerate(names)})
    stop, calls = threading.Event(), itertools.count(1)

    def function(pixels):
        if next(calls) == 3:
            stop.set()
        time.sleep(0.02)
        if pixels.shape[1] == 11:
            raise ValueError("too large for this model")
        return invert(pixels)

    how = (jobs_of(names, tmp_path), function, memory)
    outcomes = list(pipeline.enhance_files(*how, threads=2, stop=stop.is_set))
    told = [os.path.basename(job.source) for job, *_ in outcomes]
    assert told == sorted(told, key=names.index)
    assert {name for name, (*_, error, _) in zip(told, outcomes, strict=True) if not error} == set(
        memory.written
    )
    assert 3 <= len(told) < 30
    assert all(error is None or "too large" in error.reason for _, error, _ in outcomes)


def test_closing_ends_what_is_being_written_and_leaves_out_the_rest(tmp_path):
    names = [f"{n}.png" for n in range(30)]
    for name in names:
        write(tmp_path / name, picture(40, 60))
    before = threading.enumerate()
    outcomes = enhance_pictures(jobs_of(names, tmp_path), invert)
    next(outcomes)
    outcomes.close()
    assert threads_since(before) == set()
    written = sorted((tmp_path / "out").iterdir())
    assert 0 < len(written) < 30
    for path in written:
        np.testing.assert_array_equal(pictures.read(path).pixels, 255 - picture(40, 60))


def test_an_unforeseen_error_of_a_picture_names_it_and_the_rest_is_done(tmp_path):
    names = [f"{n}.png" for n in range(4)]
    for n, name in enumerate(names):
        write(tmp_path / name, picture(8, 8 + n))

    def broken(pixels):
        if pixels.shape[1] == 9:
            raise ZeroDivisionError("division")
        if pixels.shape[1] == 10:
            raise RuntimeError("Failed to\nallocate memory")
        return invert(pixels)

    before = threading.enumerate()
    errors = [error for _, error, _ in enhance_pictures(jobs_of(names, tmp_path), broken)]
    reasons = [error and str(error).removeprefix(f"{tmp_path}/") for error in errors]
    assert reasons == [
        None,
        "1.png: can't be enhanced: ZeroDivisionError: division",
        "2.png: can't be enhanced: RuntimeError: Failed to allocate memory",
        None,
    ]
    assert isinstance(errors[1].__cause__, ZeroDivisionError)
    assert sorted(os.listdir(tmp_path / "out")) == ["0.png", "3.png"]
    assert threads_since(before) == set()


def test_an_unforeseen_error_of_the_list_of_jobs_ends_it(tmp_path):
    write(tmp_path / "a.png", picture(8, 8))

    def jobs():
        yield from jobs_of(["a.png"], tmp_path)
        raise ZeroDivisionError

    before = threading.enumerate()
    with pytest.raises(ZeroDivisionError):
        list(enhance_pictures(jobs(), invert))
    assert threads_since(before) == set()


class NoMemory(Counting):
    """Can't be had for one core."""

    def on_one_core(self):
        raise MemoryError


class Stuck(Counting):
    """Fails before and in its computing, at some pictures."""

    def on_one_core(self):
        return self

    def prepare(self, pixels):
        if pixels.shape[0] == 11:
            raise MemoryError
        return pixels

    def compute(self, pixels, _):
        if pixels.shape[0] == 12:
            raise MemoryError
        return invert(pixels)


@pytest.mark.parametrize(("kind", "failing"), [(NoMemory, 0), (Stuck, 8)])
def test_what_fails_gives_its_room_back(tmp_path, kind, failing):
    sizes = {f"{n}.bmp": (10 + n % 4, 10) for n in range(16)}
    done, jobs = [], jobs_of(sizes, tmp_path)

    def run():
        done.extend(pipeline.enhance_files(jobs, kind([]), Memory(sizes), threads=3))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert len(done) == 16
    assert sum(error is not None for _, error, _ in done) == failing


def test_sizes_do_not_retrace_the_model(tmp_path):
    tiled = tiles.Tiled(models.build("neid", filters=4, depth=2), tile=64)
    # No two have a height or a width in common. The last is two equal tiles, and those of the one
    # before share no side with them; most tiles of the others are of one height.
    sizes = [*((20 + 7 * n, 90 - 3 * n) for n in range(1, 24) if n != 16), (132, 42), (192, 90)]
    names = [f"{n}.png" for n in range(24)]
    for name, size in zip(names, sizes, strict=True):
        write(tmp_path / name, darkened(picture(*size)))
    # Which of several is computed first is chance.
    for some in (names[23:], names[22:23], names[:22]):
        outcomes = enhance_pictures(jobs_of(some, tmp_path), Enhancement(tiled), threads=2)
        assert [error for _, error, _ in outcomes] == [None] * len(some)
    network = tiled.network
    for model in (network.model, network._part("context"), network._part("tile")):
        # The first size, and then all sizes.
        assert model.predict_function.experimental_get_tracing_count() == 2
        assert model.jit_compile is False


INTERRUPTED = """
import signal, sys, time
from neid_tf.commands import enhance, main
# What is started in a shell's background has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
enhance._function = lambda: lambda pixels: time.sleep(0.05) or 255 - pixels
print("ready", flush=True)
sys.exit(main.main(["neid", "enhance", sys.argv[1], f"--output={sys.argv[2]}"]))
"""


def test_an_interruption_leaves_whole_files_only(tmp_path):
    for n in range(60):
        write(tmp_path / "in" / f"{n:02}.png", picture(200, 300))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "in"), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    wait_for(lambda: out.exists() and len(list(out.iterdir())) > 3, threading.Event(), 120)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    goes_on = "neid: what is written is whole; --existing=skip does the rest\n"
    assert (process.returncode, err) == (130, f"{goes_on}neid: enhance: interrupted\n")
    written = sorted(out.iterdir())
    assert 3 < len(written) < 60
    assert all(path.suffix == ".png" for path in written)
    for path in written:
        np.testing.assert_array_equal(pictures.read(path).pixels, 255 - picture(200, 300))
