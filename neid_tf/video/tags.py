"""What a video file says in words: title, place, date, and what its maker adds."""

from __future__ import annotations

import os
import typing

from neid_tf.video.reader import Reader

if typing.TYPE_CHECKING:
    import av

OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")
"""Tags of the file that a video was in, not of the video."""


_OF_THE_STREAM = ("alpha_mode", "bps", "duration", "encoder", "number_of_", "vendor_id", "_stat")
_UNTOLD = ("creation_time", "handler_name")
# FFmpeg knows Apple's languages by one code each, of ISO 639-2 or older.
_APPLES = {
    **{"fre": "fra", "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre"},
    **{"isl": "ice", "zho": "chi", "fas": "per", "sqi": "alb", "rum": "ron"},
    **{"cze": "ces", "slo": "slk", "mkd": "mac", "hye": "arm", "kat": "geo"},
    **{"bod": "tib", "mya": "bur", "msa": "may", "cym": "wel", "eus": "baq"},
    **{"nob": "nor", "nno": "nor"},
}


def of_stream(stream: av.stream.Stream, container: str) -> dict[str, str]:
    """Return what a stream says of itself, but for how it is coded.

    Args:
        stream: of a source.
        container: FFmpeg's name of the format that is written, as which languages are told.
    """
    # MP4 calls a stream's title its name, and takes it as title.
    tags = {"title" if k.lower() == "name" else k: v for k, v in stream.metadata.items()}
    tags = {k: v for k, v in tags.items() if not k.lower().startswith(_OF_THE_STREAM)}
    for name in tags.keys() & {"language"} if container == "mov" else ():
        tags[name] = _APPLES.get(tags[name], tags[name])
    return tags


def is_apples(name: str) -> bool:
    """Tell whether a tag's name is one that Apple's cameras give, in any case."""
    return name.lower().startswith("com.apple.quicktime.")


def lost_tags(written: str | os.PathLike, reader: Reader, container: str) -> list[str]:
    """Return the names of the source's tags, and of its streams', that a copy has not.

    Args:
        written: the copy, whose container may take fewer tags than it was given.
        reader: the source.
        container: FFmpeg's name of the copy's format.
    """
    import av

    given = [(k, v) for k, v in reader.container.metadata.items() if k.lower() not in OF_THE_FILE]
    for stream in (reader.stream, *reader.others):
        for name, value in of_stream(stream, container).items():
            # Of sound and text, what muxers write of themselves is not looked at.
            is_told = name.lower() in ("title", "language") or stream is reader.stream
            if is_told and name.lower() not in _UNTOLD and value != "und":
                given.append((f"{name.lower()} of stream {stream.index}", value))
    # A name with a colon would be taken for an address.
    with av.open(os.path.abspath(written)) as copy:
        tags = [copy.metadata, *(stream.metadata for stream in copy.streams)]
        names = {name.lower() for name in copy.metadata}
    values = {value for some in tags for value in some.values()}
    return [k for k, v in given if v not in values and k.lower() not in names]
