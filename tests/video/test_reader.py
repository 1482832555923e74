"""What is told of a video before its frames are enhanced, and what is refused."""

import os
import subprocess
import sys

import numpy as np
import pytest

av = pytest.importorskip("av")

from neid_tf.commands import main  # noqa: E402
from neid_tf.video import VideoError, enhance_video  # noqa: E402
from tests.video.test_frames import double  # noqa: E402


def make(path, codec, layout, height=32, width=48, count=2):
    """Write a video of this codec and pixel format."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10, width=width, height=height, pix_fmt=layout)
        for number in range(count):
            pixels = np.full((height, width, 3), 40 + number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels).reformat(format=layout)
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


ALPHA, FINE = "transparency is not kept", "colour is written at half the resolution (4:2:0)"


@pytest.mark.parametrize(
    ("name", "codec", "layout", "notes"),
    [
        ("a.mp4", "libx264", "yuv420p", []),
        ("a.mp4", "libx264", "yuv420p10le", ["10 bits a sample, written in 8"]),
        ("a.mp4", "libx264", "yuv422p", [FINE]),
        ("a.mp4", "libx264", "yuv444p", [FINE]),
        ("a.mp4", "libx264", "gray", []),
        ("a.mov", "png", "rgb24", [FINE]),
        ("a.mov", "png", "rgba", [ALPHA, FINE]),
        ("a.mov", "qtrle", "argb", [ALPHA, FINE]),
        ("a.mov", "prores_ks", "yuva444p10le", ["12 bits a sample, written in 8", ALPHA, FINE]),
    ],
)
def test_what_the_written_file_can_not_hold_is_told(name, codec, layout, notes, tmp_path):
    source = make(tmp_path / name, codec, layout)
    summary = enhance_video(source, tmp_path / "out.mp4", double)
    assert [note for note in summary.notes if "padded" not in note] == notes


def test_a_packet_that_is_damaged_costs_itself_alone(tmp_path):
    """PNG's decoder calls damage an error of an external library."""
    source = make(tmp_path / "a.mov", "png", "rgb24", count=6)
    with av.open(source) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][3]
        place = packet.pos + packet.size // 2
    content = bytearray(source.read_bytes())
    content[place : place + 8] = bytes(255 - byte for byte in content[place : place + 8])
    source.write_bytes(content)
    summary = enhance_video(source, tmp_path / "out.mp4", double)
    assert (summary.frames, FINE in summary.notes) == (5, True)
    assert "damaged: 1 packets could not be decoded" in summary.notes


def test_a_stereoscopic_video_is_named(tmp_path):
    pixels = np.full((32, 48, 3), 40, np.uint8)
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        options = {"x264-params": "frame-packing=3"}
        stream = file.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        file.mux(stream.encode(None))
    [note] = enhance_video(tmp_path / "a.mp4", tmp_path / "out.mp4", double).notes
    assert "stereoscopic" in note


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        *(("a.mov", "png", "rgb24"), ("a.mp4", "libx264", "yuv420p"), ("a.mkv", "ffv1", "yuv420p")),
        *(("a.flv", "libx264", "yuv420p"), ("a.mpg", "libx264", "yuv420p")),
    ],
)
def test_frames_larger_than_allowed_are_refused_before_they_are_decoded(
    name, codec, layout, tmp_path
):
    source = make(tmp_path / name, codec, layout, 600, 800, count=1)
    for limit in (480_000, None):
        enhance_video(source, tmp_path / "out.mp4", double, max_pixels=limit)
    (tmp_path / "out.mp4").unlink()
    with pytest.raises(VideoError, match="800×600, more than the 479,999 pixels that --max_pixels"):
        enhance_video(source, tmp_path / "out.mp4", double, max_pixels=479_999)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="tells the peak of memory")
def test_a_frame_far_above_the_limit_takes_no_memory(tmp_path):
    source = make(tmp_path / "a.mov", "png", "gray", 4000, 6000, count=1)
    code = "import sys; from neid_tf.video.reader import Reader, VideoError\n"
    code += "try: Reader(sys.argv[1], 1_000_000)\nexcept VideoError as error: print(error.reason)\n"
    code += "status = open('/proc/self/status').read()\nprint(status.split('VmHWM:')[1].split()[0])"
    done = subprocess.run([sys.executable, "-c", code, source], capture_output=True, text=True)
    reason, small = done.stdout.splitlines()
    assert "more than the 1,000,000 pixels" in reason
    done = subprocess.run(
        [sys.executable, "-c", code.replace("1_000_000", "24_000_000"), source],
        capture_output=True,
        text=True,
    )
    # Gray: a byte a pixel.
    assert int(done.stdout) - int(small) > 15_000


def test_the_command_hands_its_limit_to_videos(tmp_path, capsys, weights_file):
    source = make(tmp_path / "a.mp4", "libx264", "yuv420p")
    options = [f"--output={tmp_path / 'out'}", f"--weights={weights_file}", "--max_pixels=1000"]
    from absl.testing import flagsaver

    with flagsaver.flagsaver():
        assert main.main(["neid", "enhance", str(source), *options]) == 1
    assert "frames of 48×32, more than the 1,000 pixels" in capsys.readouterr().err
