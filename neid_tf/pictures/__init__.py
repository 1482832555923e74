"""Picture files: reading and writing them whole, with what belongs to them."""

from neid_tf.pictures.loss import held_metadata, holds_all, left_out, pages_left_out
from neid_tf.pictures.picture import Picture, PictureError
from neid_tf.pictures.reader import (
    DEFAULT_MAX_PIXELS,
    SERVED_MAX_PIXELS,
    SUFFIXES,
    content,
    count_pixels,
    decode,
    decode_all,
    read,
    read_pixels,
)
from neid_tf.pictures.writer import (
    METADATA,
    WRITABLE,
    as_stored,
    check_target,
    encode,
    encode_all,
    encode_stored,
    has_quality,
    longest_side,
    write,
    write_content,
    written_suffix,
)

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "METADATA",
    "SERVED_MAX_PIXELS",
    "SUFFIXES",
    "WRITABLE",
    "Picture",
    "PictureError",
    "as_stored",
    "check_target",
    "content",
    "count_pixels",
    "decode",
    "decode_all",
    "encode",
    "encode_all",
    "encode_stored",
    "has_quality",
    "held_metadata",
    "holds_all",
    "left_out",
    "longest_side",
    "pages_left_out",
    "read",
    "read_pixels",
    "write",
    "write_content",
    "written_suffix",
]
