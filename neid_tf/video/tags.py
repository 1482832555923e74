"""What a video file says in words: title, place, date, and what its maker adds."""

from __future__ import annotations

import os

from neid_tf.video.reader import Reader

OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")
"""Tags of the file that a video was in, not of the video."""


def is_apples(name: str) -> bool:
    """Tell whether a tag's name is one that Apple's cameras give, in any case."""
    return name.lower().startswith("com.apple.quicktime.")


def lost_tags(written: str | os.PathLike, reader: Reader) -> list[str]:
    """Return the names of the source's tags and of its streams' titles that a copy has not.

    Args:
        written: the copy, whose container may take fewer tags than it was given.
        reader: the source.
    """
    import av

    given = [(k, v) for k, v in reader.container.metadata.items() if k.lower() not in OF_THE_FILE]
    for stream in (reader.stream, *reader.others):
        titles = [v for k, v in stream.metadata.items() if k.lower() in ("title", "name")]
        given += [(f"title of stream {stream.index}", title) for title in titles]
    # A name with a colon would be taken for an address.
    with av.open(os.path.abspath(written)) as copy:
        tags = [copy.metadata, *(stream.metadata for stream in copy.streams)]
        names = {name.lower() for name in copy.metadata}
    values = {value for some in tags for value in some.values()}
    return [k for k, v in given if v not in values and k.lower() not in names]
