"""Picture files: reading and writing them whole, with what belongs to them."""

from neid_tf.pictures.picture import (
    DEFAULT_MAX_PIXELS,
    SUFFIXES,
    Picture,
    PictureError,
    content,
    count_pixels,
    decode,
    encode,
    read,
    write,
    write_content,
)

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "SUFFIXES",
    "Picture",
    "PictureError",
    "content",
    "count_pixels",
    "decode",
    "encode",
    "read",
    "write",
    "write_content",
]
