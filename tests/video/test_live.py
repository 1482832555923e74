"""``neid live``: streams that the tests send on the loopback."""

import contextlib
import io
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

av = pytest.importorskip("av")

from neid_tf.inference.network import FunctionNetwork, Network  # noqa: E402
from neid_tf.support.errors import NeidError  # noqa: E402
from neid_tf.video import Enhancer, Frame, VideoError, broadcast, live, stream  # noqa: E402
from neid_tf.video.window import Window  # noqa: E402
from tests.conftest import darkened, free_ports, picture  # noqa: E402
from tests.video.test_frames import double  # noqa: E402

WIDTH, HEIGHT = 64, 48
PATIENCE = 30


def frames(count, width=WIDTH, height=HEIGHT):
    """Return dark frames, each with its number in its brightness."""
    base = darkened(picture(height, width))
    return [np.clip(base.astype(int) + number, 0, 255).astype(np.uint8) for number in range(count)]


class Sender(threading.Thread):
    """Sends a stream to whoever connects, ``times`` times, and closes.

    PyAV would keep the whole process waiting while it listens.
    """

    def __init__(self, count=50, rate=40.0, times=1, width=WIDTH, parts=()):
        super().__init__(daemon=True)
        self.parts = parts
        self.rate, self.times, self.frames = rate, times, frames(count, width)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._socket.getsockname()[1]}"
        self.start()

    def run(self):
        parts = self.parts or encoded(self.frames)
        with self._socket:
            for _ in range(self.times):
                connection, _ = self._socket.accept()
                with connection, contextlib.suppress(OSError):  # Whoever receives may go.
                    for part in parts:
                        connection.sendall(part)
                        time.sleep(1 / self.rate)


def encoded(shown, shape=None):
    """Return a transport stream of frames, a part for each."""
    parts, file = [], io.BytesIO()
    with av.open(file, "w", format="mpegts") as output:
        height, width, _ = shown[0].shape
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        made = output.add_stream(
            "libx264", rate=25, options=options, width=width, height=height, pix_fmt="yuv420p"
        )
        if shape:
            made.codec_context.sample_aspect_ratio = shape
        for number, pixels in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(pixels).reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(made.encode(frame))
            parts.append(file.tell())
        output.mux(made.encode(None))
    data = file.getvalue()
    return [data[a:b] for a, b in zip([0, *parts], [*parts, len(data)], strict=True)]


def decoded(path):
    with av.open(path) as file:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]


def test_a_stream_is_enhanced_into_a_file(neid, tmp_path):
    pytest.importorskip("onnxruntime")
    sender, told = Sender(), tmp_path / "new" / "latencies.jsonl"
    made = tmp_path / "newer" / "night.mkv"
    options = [f"--output={made}", f"--latencies={told}", "--weights=neid_s", "--retries=0"]
    code, out, err = neid("live", sender.address, *options)
    # The stream came to its end, which is told: there was to be no other try.
    assert (code, len(err.splitlines()), sender.address in err) == (1, 1, True)
    rows = [json.loads(line) for line in told.read_text().splitlines()]
    shown = decoded(made)
    first, second = out.splitlines()
    enhanced, dropped = (int(part.split()[0]) for part in first.split(", ")[:2])
    assert enhanced == len(rows) == len(shown) > 5
    # Some frames are on their way when it ends.
    assert enhanced + dropped == pytest.approx(50, abs=3)
    assert second.startswith("latency: ")
    assert [row["frame"] for row in rows] == sorted({row["frame"] for row in rows})
    np.testing.assert_allclose([t for t, _ in shown], [row["time"] for row in rows], atol=2e-3)
    for row in rows:
        spans = [row[name] for name in ("waited_ms", "enhanced_ms", "written_ms")]
        assert row["latency_ms"] == pytest.approx(sum(spans), abs=0.3)
    assert shown[-1][1].mean() > 1.4 * sender.frames[-1].mean()


def test_what_comes_too_fast_is_dropped_and_the_newest_is_done():
    def slow(batch):
        time.sleep(0.1)
        return double(batch)

    sender = Sender(count=60, rate=100.0)
    received = stream.Stream(sender.address, print, retries=0)
    received.start()
    done = list(live.Live(FunctionNetwork(slow)).frames(received, threading.Event()))
    numbers = [one.caught.number for one in done]
    assert numbers == sorted(numbers)
    assert received.dropped == numbers[-1] - len(numbers) > 10
    assert all(one.begun - one.caught.received < 0.1 for one in done[2:])


def test_a_stream_that_breaks_off_is_connected_anew(monkeypatch):
    monkeypatch.setattr(stream, "FIRST_PAUSE", 0.1)
    sender, told, stop = Sender(count=10, times=2), [], threading.Event()
    received = stream.Stream(sender.address, told.append)
    received.start()
    times = []
    for one in live.Live(FunctionNetwork(double)).frames(received, stop):
        times.append(one.caught.time)
        if received.connections == 2 and len(times) > 12:
            stop.set()
    received.stop()
    assert times == sorted(times)
    assert any("again in 0.1 s" in line for line in told)


def test_a_source_that_is_not_there_is_tried_and_given_up(neid, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "FIRST_PAUSE", 0.05)
    [port] = free_ports(1)
    source = f"tcp://127.0.0.1:{port}"
    code, out, err = neid("live", source, f"--output={tmp_path / 'a.mkv'}", "--retries=2")
    assert code == 1
    assert out == "0 frames enhanced, 0 dropped\n"
    first, second, last = err.splitlines()
    assert first.endswith("connection refused; again in 0.05 s")
    assert second.endswith("connection refused; again in 0.1 s")
    assert last == f"neid: live: {source}: connection refused"
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_sends_nothing_is_a_failure(neid, tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        source = f"udp://127.0.0.1:{free.getsockname()[1]}"
    options = [f"--output={tmp_path / 'a.mkv'}", "--seconds=0.3", "--stall=0.1"]
    options.append(f"--latencies={tmp_path / 'told'}")
    code, out, err = neid("live", source, *options, "--weights=neid_s")
    assert (code, out) == (1, "0 frames enhanced, 0 dropped\n")
    assert err.endswith(f"neid: live: {source}: no frame came, so nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_frames_that_were_written(neid, tmp_path, monkeypatch):
    """They do not come again."""
    pytest.importorskip("onnxruntime")

    def note(told, done):
        told.frames += 1
        if told.frames == 5:
            raise NeidError("the fifth")

    monkeypatch.setattr("neid_tf.commands.live._Log.note", note)
    made = tmp_path / "a.mkv"
    code, out, err = neid("live", Sender().address, f"--output={made}", "--weights=neid_s")
    assert (code, err) == (1, "neid: live: the fifth\n")
    assert out.startswith("5 frames enhanced, ")
    assert len(decoded(made)) == 5
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ([], 2, "name one camera or address"),
        (["udp://127.0.0.1:1"], 2, "say where the frames go"),
        (["file:///etc/passwd", "--output=a.mkv"], 1, "no stream"),
        (["a.mp4", "--output=b.mp4"], 1, "neid enhance does files"),
        (["none.mp4", "--output=b.mp4"], 1, "none.mp4: no camera: no such file"),
        (["udp://127.0.0.1:1", "--output=a.txt"], 1, "no video can be written"),
        (["udp://127.0.0.1:1", "--output=s3://b/a.mkv"], 1, "can't be sent there"),
        (["udp://127.0.0.1:1", "--output=a.mp4"], 1, "is there already; --overwrite replaces it"),
        (["udp://127.0.0.1:1", "--output=b.mkv", "--method=lime"], 2, "--method: no flag"),
        (["srt+x://127.0.0.1:1", "--output=b.mkv"], 1, "no stream"),
    ],
)
def test_what_is_no_stream_or_can_not_be_written(
    neid, tmp_path, monkeypatch, arguments, code, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    got, _, err = neid("live", *arguments, "--weights=neid_s")
    assert (got, reason in err) == (code, True), err


@pytest.mark.parametrize(
    ("latencies", "reason"),
    [
        ("notes.txt", "notes.txt: is there already; --overwrite replaces it"),
        ("b.mkv", "b.mkv: two outputs are this one file"),
        ("notes.txt/rows", "notes.txt is no folder"),
        (".", ".: is a folder, no file"),
    ],
)
def test_latencies_are_written_where_nothing_is(neid, tmp_path, monkeypatch, latencies, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr("neid_tf.commands.enhance.for_frames", None)  # It does not come to that.
    options = ["--output=b.mkv", f"--latencies={latencies}"]
    code, _, err = neid("live", "udp://127.0.0.1:1", *options)
    assert (code, reason in err) == (1, True), err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_signal_ends_it_and_the_file_is_whole(neid, tmp_path):
    pytest.importorskip("onnxruntime")
    sender, told = Sender(count=2000), tmp_path / "latencies"

    def end():
        while not (told.exists() and told.read_bytes().count(b"\n") > 5):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Thread(target=end)
    ending.start()
    made = tmp_path / "a.mp4"
    options = [f"--output={made}", f"--latencies={told}", "--weights=neid_s"]
    code, out, err = neid("live", sender.address, *options)
    ending.join()
    assert (code, err) == (0, "")
    assert len(decoded(made)) == int(out.split()[0]) > 5


class Reading(Network):
    """A network that reads how bright a picture is, and counts how often."""

    context = ("level",)

    def __init__(self):
        self.reads = 0

    def _read(self, batch, known):
        self.reads += 1
        return {"level": batch.mean(axis=(1, 2))}

    def _run(self, batch, context, box, picture):
        level = context["level"] if context else self._read(batch)["level"]
        return np.repeat(np.repeat(batch * 0 + level[:, None, None], 2, 1), 2, 2)


class Frames:
    """Frames that are there, in place of a stream."""

    def __init__(self, pixels, rate=25.0):
        self.changed, self._rest = threading.Condition(), list(enumerate(pixels))
        self.rate, self.dropped = rate, 0

    @property
    def has_frame(self):
        return bool(self._rest)

    @property
    def has_ended(self):
        return not self._rest

    def take(self):
        number, pixels = self._rest.pop(0)
        frame = av.VideoFrame.from_ndarray(pixels)
        color, now = stream.Color.of(frame), time.monotonic()
        return stream.Caught(frame, number + 1, now, number / self.rate, color, stream.Turn())


def test_the_context_is_averaged_and_read_no_more_than_needed():
    dark, bright = (np.full((24, 32, 3), level, np.uint8) for level in (60, 180))
    shown = [dark] * 20 + [bright] * 20  # 0.8 s each, a cut between them.
    network = Reading()
    done = list(live.Live(network).frames(Frames(shown), threading.Event()))
    levels = [one.pixels.mean() for one in done]
    np.testing.assert_allclose(levels, [60] * 20 + [180] * 20, atol=1)
    assert 7 <= network.reads <= 11  # About every fifth of a second, of 40 frames.
    slow = [np.full((24, 32, 3), level, np.uint8) for level in range(100, 120)]
    levels = [
        one.pixels.mean() for one in live.Live(Reading()).frames(Frames(slow), threading.Event())
    ]
    assert levels == sorted(levels)
    assert max(np.diff(levels)) < 2  # It follows without steps.
    assert 105 < levels[-1] < 118


def test_each_frame_by_itself_is_as_in_a_video():
    shown = frames(3)
    network = FunctionNetwork(lambda batch: np.clip(2 * double(batch), 0, 1))
    done = live.Live(network, strength=0.5, smoothing=0).frames(Frames(shown), threading.Event())
    expected = Enhancer(network, strength=0.5, smoothing=0)(
        [Frame(pixels, n, 1, n / 25) for n, pixels in enumerate(shown)]
    )
    for one, pixels in zip(done, expected, strict=True):
        np.testing.assert_array_equal(one.pixels, pixels)


def test_errors_of_the_network_end_it():
    network = FunctionNetwork(lambda batch: np.full_like(double(batch), np.nan))
    with pytest.raises(NeidError, match="not finite"):
        list(live.Live(network).frames(Frames(frames(1)), threading.Event()))


def test_the_clock_of_a_stream_is_kept_as_long_as_it_makes_sense():
    clock = stream.Clock()
    assert [clock(1000.0 + n / 10, 50.0 + n / 10 + 0.02 * (n % 2)) for n in range(4)] == (
        pytest.approx([0.0, 0.1, 0.2, 0.3])
    )
    assert clock(None, 51.0) == 1.0
    assert clock(7.0, 52.0) == 2.0  # It began anew.
    assert clock(7.1, 52.1) == pytest.approx(2.1)
    assert clock(7.1, 52.1) > 2.1  # Times grow.
    assert clock(6.3, 52.3) == pytest.approx(2.3)  # Anew, though by less than it may be off.
    assert clock(6.4, 52.4) == pytest.approx(2.4)


def test_latencies_are_told_to_the_millisecond():
    told = live.Latencies()
    assert told.share(0.5) == 0
    for milliseconds in range(1, 101):
        told.add(milliseconds / 1e3)
    assert [told.share(part) for part in (0.5, 0.95, 1.0)] == [50, 95, 100]


def test_frames_are_sent_once_somebody_is_there(monkeypatch):
    monkeypatch.setattr(broadcast, "FIRST_PAUSE", 0.1)
    [port] = free_ports(1)
    told, got = [], []
    output = broadcast.AddressOutput(f"tcp://127.0.0.1:{port}", told.append)
    shown = frames(1)[0]
    output.write(shown, 0.0)
    output.write(shown, 0.1)
    assert (output.unsent, len(told)) == (2, 1)
    assert told[0].endswith("connection refused; again in 0.1 s")

    def receive():
        with socket.create_server(("127.0.0.1", port)) as listening:
            listening.settimeout(PATIENCE)
            with listening.accept()[0] as connection:
                while data := connection.recv(2**16):
                    got.append(data)

    receiver = threading.Thread(target=receive)
    receiver.start()
    for number in range(200):
        output.write(shown, 1 + number / 25)
        time.sleep(0.01)
        if number - output.unsent > 30:
            break
    output.close()
    receiver.join()
    sent = decoded(io.BytesIO(b"".join(got)))
    assert len(sent) > 30
    np.testing.assert_allclose(sent[-1][1].astype(int), shown, atol=12)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".webm"])
def test_a_full_disk_leaves_what_was_recorded(tmp_path, suffix):
    output = broadcast.FileOutput(tmp_path / f"a{suffix}")
    noise = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with contextlib.suppress(VideoError):
            for number in range(1000):
                output.write(np.roll(noise, number, 1), number / 25)
        with pytest.raises(VideoError, match=r"too large; what was recorded until then is kept"):
            output.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [file.name for file in tmp_path.iterdir()] == [f"a{suffix}"]
    with av.open(tmp_path / f"a{suffix}") as file:
        shown = 0
        with contextlib.suppress(av.InvalidDataError):  # The last one is cut.
            for _ in file.decode(video=0):
                shown += 1
        assert shown > 5


@pytest.mark.parametrize(("suffix", "wide"), [(".mp4", 40_000), (".webm", 70_000)])
def test_frames_that_no_encoder_takes_leave_nothing_and_are_named(tmp_path, suffix, wide):
    output = broadcast.FileOutput(tmp_path / f"a{suffix}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.raises(VideoError, match=r"(opening it|frame|ending it) fails"))
        stack.callback(output.close)
        output.write(np.zeros((2, wide, 3), np.uint8), 0.0)
    assert list(tmp_path.iterdir()) == []


def test_the_shape_of_pixels_is_kept(tmp_path):
    told = []
    for suffix, kept in ((".mkv", Fraction(64, 45)), (".mp4", Fraction(64, 45)), (".webm", 1)):
        output = broadcast.FileOutput(tmp_path / f"a{suffix}", report=told.append)
        output.write(frames(1)[0], 0.0, Fraction(64, 45))
        output.close()
        with av.open(tmp_path / f"a{suffix}") as file:
            assert file.streams.video[0].sample_aspect_ratio == kept
    assert told == [f"{tmp_path / 'a.webm'}: WebM: the shape of the pixels, 64/45, is not kept"]


@pytest.mark.parametrize("swapped", [False, True])
def test_the_shape_of_a_stream_s_pixels_and_its_size_are_told(monkeypatch, swapped):
    monkeypatch.setattr(stream, "upright", lambda _: stream.Turn(swapped))
    told, caught, shape = [], [], Fraction(64, 45)
    parts = encoded(frames(20), shape) + encoded(frames(20, width=48))
    received = stream.Stream(Sender(parts=parts).address, told.append, retries=0)
    monkeypatch.setattr(received, "_put", lambda *given: caught.append(given))
    received.start()
    received._thread.join(PATIENCE)
    assert [line for line in told if "change from 64×48 to 48×48" in line]
    assert caught[0][-1] == (1 / shape if swapped else shape)


def test_a_size_that_changes_does_not_end_the_file(tmp_path):
    output = broadcast.FileOutput(tmp_path / "a.mkv")
    output.write(frames(1)[0], 0.0)
    output.write(frames(1, width=33, height=20)[0], 0.1)
    output.close()
    assert [pixels.shape for _, pixels in decoded(tmp_path / "a.mkv")] == [(HEIGHT, WIDTH, 3)] * 2


def test_a_recording_leaves_what_has_come_to_be_there(tmp_path):
    path = tmp_path / "a.mkv"
    (tmp_path / "a-2.mkv").write_text("older")
    for overwrite in (False, True):
        output = broadcast.FileOutput(path, overwrite)
        output.write(frames(1)[0], 0.0)
        path.write_text("precious")
        if overwrite:
            output.close()
            continue
        with pytest.raises(VideoError, match=r"a\.mkv: has come to be there; the recording is a-3"):
            output.close()
        assert path.read_text() == "precious"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-2.mkv", "a-3.mkv", "a.mkv"]
    assert len(decoded(path)) == len(decoded(tmp_path / "a-3.mkv")) == 1
    assert (tmp_path / "a-2.mkv").read_text() == "older"


def test_frames_that_are_too_large_end_it():
    sender = Sender(count=5, width=200)
    received = stream.Stream(sender.address, print, max_pixels=WIDTH * HEIGHT)
    received.start()
    assert list(live.Live(FunctionNetwork(double)).frames(received, threading.Event())) == []
    assert isinstance(received.error, VideoError)
    assert "more than the 3,072 pixels that --max_pixels allows" in str(received.error)


def test_a_window_shows_frames_until_it_is_closed(monkeypatch):
    shown = []
    root = SimpleNamespace(title=lambda _: None, protocol=lambda _, call: None)
    root.update, root.destroy = lambda: None, lambda: shown.append("closed")
    label = SimpleNamespace(pack=lambda: None, configure=lambda image: shown.append(image))
    fake = SimpleNamespace(Tk=lambda: root, Label=lambda *_, **__: label, TclError=OSError)
    fake.PhotoImage = lambda data: data
    monkeypatch.setitem(sys.modules, "tkinter", fake)
    window, pixels = Window("a"), frames(1)[0]
    window.write(pixels, 0.0)
    assert shown == [b"P6 64 48 255\n" + pixels.tobytes()]
    window.close()
    window.write(pixels, 0.1)
    window.refresh()
    assert (shown[1:], window.closed) == (["closed"], True)

    def refuse():
        raise OSError("no display name")

    fake.Tk = refuse
    with pytest.raises(NeidError, match="no window can be opened: no display name"):
        Window("a")
