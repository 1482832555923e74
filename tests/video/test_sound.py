"""The sound of old recorders: AVI does not tell which channel is for which loudspeaker."""

import numpy as np
import pytest

av = pytest.importorskip("av")

from neid_tf.video import enhance_video  # noqa: E402
from neid_tf.video import writer as writers  # noqa: E402
from tests.video.test_frames import double, grays  # noqa: E402

RATE = 16000


def make_avi(path, codec, channels, rate=RATE, seconds=1):
    """Write a video with a tone of 440 Hz in the first channel and silence in the others."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    with av.open(str(path), "w") as file:
        video = file.add_stream("mpeg4", rate=10, width=48, height=32, pix_fmt="yuv420p")
        sound = file.add_stream(codec, rate=rate, layout=layout)
        for number, pixels in enumerate(grays(range(10 * seconds))):
            frame = av.VideoFrame.from_ndarray(pixels[:32, :48])
            frame.pts = number
            file.mux(video.encode(frame))
        tone = np.zeros((rate * seconds, channels), np.int16)
        tone[:, 0] = 8000 * np.sin(np.arange(rate * seconds) * (2 * np.pi * 440 / rate))
        for start in range(0, len(tone), 1000):
            part = np.ascontiguousarray(tone[start : start + 1000].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
        file.mux(video.encode(None))
    return path


def heard(path):
    """Return the number of pictures, and the sound as seconds × channels of its power."""
    with av.open(str(path)) as file:
        pictures = sum(1 for _ in file.decode(video=0))
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        resampler = av.AudioResampler("fltp", stream.layout.name.replace("2 channels", "stereo"))
        frames = [f for frame in file.decode(stream) for f in resampler.resample(frame)]
        samples = np.concatenate([frame.to_ndarray() for frame in frames], 1)
        return pictures, samples.shape[1] / stream.rate, np.square(samples).mean(1)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".mkv"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "codec", ["pcm_s16le", "pcm_u8", "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav"]
)
def test_sound_without_a_layout_is_kept(codec, channels, suffix, tmp_path):
    source = make_avi(tmp_path / "in.avi", codec, channels)
    with av.open(str(source)) as file:
        assert file.streams.audio[0].layout.name == f"{channels} channels"
    summary = enhance_video(source, tmp_path / f"out{suffix}", double)
    pictures, seconds, power = heard(tmp_path / f"out{suffix}")
    assert (pictures, summary.frames) == (10, 10)
    assert seconds == pytest.approx(1.0, abs=0.1)
    assert len(power) == channels
    assert power[0] > 0.01
    assert np.all(power[1:] < 0.1 * power[0])


def test_six_channels_stay_six(tmp_path):
    source = make_avi(tmp_path / "in.avi", "pcm_s16le", 6, rate=48000)
    enhance_video(source, tmp_path / "out.mp4", double)
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.audio[0].layout.nb_channels == 6


def test_sound_that_the_file_refuses_costs_no_picture(tmp_path, monkeypatch):
    source = make_avi(tmp_path / "in.avi", "pcm_s16le", 2)
    monkeypatch.setattr(writers.sound, "is_copied", lambda *_: True)
    summary = enhance_video(source, tmp_path / "out.mp4", double)
    assert summary.frames == 10
    [note] = summary.notes
    assert note == "left out: all sound and text (mp4 does not take them: invalid argument)"
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 10


def test_sound_that_can_not_be_decoded_is_left_out_with_its_cause(tmp_path, monkeypatch):
    def no_decoder(*_):
        raise writers.sound.SoundError("there is no decoder for it")

    source = make_avi(tmp_path / "in.avi", "pcm_alaw", 1)
    monkeypatch.setattr(writers.sound, "add_encoder", no_decoder)
    summary = enhance_video(source, tmp_path / "out.mp4", double)
    assert summary.notes == ("left out: audio stream 1 (there is no decoder for it)",)


@pytest.mark.parametrize("kind", [av.ArgumentError, av.ExperimentalError])
def test_a_file_that_cannot_begin_with_the_sound_begins_without(tmp_path, monkeypatch, kind):
    def refuse(self):
        if len(self.output.streams) > 1:
            raise kind(22, "no such layout")
        start(self)

    start = writers.Writer._start
    source = make_avi(tmp_path / "in.avi", "pcm_s16le", 1)
    monkeypatch.setattr(writers.Writer, "_start", refuse)
    summary = enhance_video(source, tmp_path / "out.mp4", double)
    assert (summary.frames, len(summary.notes)) == (10, 1)
    assert summary.notes[0].startswith("left out: all sound and text (mp4 does not take them")


def test_damaged_sound_costs_neither_picture_nor_the_other_sound(tmp_path, monkeypatch):
    def refuse(packet):
        raise av.InvalidDataError(1, "damaged beyond help")

    source = make_avi(tmp_path / "in.avi", "pcm_alaw", 1)
    monkeypatch.setattr(writers.sound, "decoded", refuse)
    summary = enhance_video(source, tmp_path / "out.mkv", double)
    assert summary.frames == 10
    assert summary.notes[-1].startswith("audio stream 1 is not whole: matroska does not take")


def test_damaged_packets_of_sound_are_counted(tmp_path, monkeypatch):
    real, count = writers.sound.decoded, 0

    def damaged(packet):
        nonlocal count
        count += 1
        return None if count in (2, 3) else real(packet)

    source = make_avi(tmp_path / "in.avi", "pcm_alaw", 1)
    monkeypatch.setattr(writers.sound, "decoded", damaged)
    summary = enhance_video(source, tmp_path / "out.mp4", double)
    assert count > 3
    assert summary.notes[-1] == "damaged: 2 packets of audio stream 1 left out"


def make_with(path, *codecs):
    """Write a second of picture and of a tone in each codec, which a Matroska file holds all."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=10, width=64, height=48, pix_fmt="yuv420p")
        streams = [file.add_stream(codec, rate=48000, layout="stereo") for codec in codecs]
        for number, pixels in enumerate(grays(range(10))):
            frame = av.VideoFrame.from_ndarray(pixels[:48, :64])
            frame.pts = number
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        tone = (8000 * np.sin(np.arange(48000) * (2 * np.pi * 440 / 48000))).astype(np.int16)
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.stack([tone] * 2), "s16p", "stereo")
            frame.sample_rate, frame.pts = 48000, 0
            fit = av.AudioResampler(stream.format.name, "stereo", 48000, stream.frame_size or None)
            for part in (*fit.resample(frame), *fit.resample(None)):
                file.mux(stream.encode(part))
            file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codecs", "suffix", "anew"),
    [
        (["libopus", "aac"], ".mov", "audio stream 1: opus encoded anew as aac"),
        (["aac", "flac"], ".mov", "audio stream 2: flac encoded anew as aac"),
    ],
)
def test_sound_that_the_file_refuses_costs_no_other_sound(codecs, suffix, anew, tmp_path):
    source = make_with(tmp_path / "in.mkv", *codecs)
    summary = enhance_video(source, tmp_path / f"out{suffix}", double)
    assert summary.notes == (anew,)
    assert summary.frames == 10
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        assert [stream.name for stream in file.streams.audio] == ["aac", "aac"]
    for number in (0, 1):
        with av.open(str(tmp_path / f"out{suffix}")) as file:
            frames = [frame.to_ndarray() for frame in file.decode(audio=number)]
        sound = np.concatenate(frames, 1)
        assert sound.shape[1] / 48000 == pytest.approx(1.0, abs=0.1)
        assert np.square(sound).mean() > 0.01


def test_a_stream_that_has_nothing_is_told(tmp_path):
    """As of a recording that was cut off before the first of its sound."""
    made, source = make_with(tmp_path / "made.mkv", "aac", "aac"), tmp_path / "in.mkv"
    with av.open(str(made)) as old, av.open(str(source), "w") as new:
        streams = [new.add_stream_from_template(stream) for stream in old.streams]
        for packet in old.demux():
            if packet.size and packet.stream.index != 2:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    summary = enhance_video(source, tmp_path / "out.mp4", double)
    assert summary.notes == ("there is nothing in audio stream 2",)
