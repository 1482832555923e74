"""Streams of LZW that a decoder must not be given."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from neid_tf.pictures import lzw, read
from neid_tf.pictures.picture import PictureError
from neid_tf.pictures.raster import FormatError
from tests.pictures.picture_files import noise, saved

CLEAR, END = 256, 257


def packed(codes, old=False):
    """The bytes of codes of nine bits: of old programs from the lowest bit on."""
    if old:
        bits = "".join(f"{code:09b}"[::-1] for code in codes)
        pieces = (bits[at : at + 8].ljust(8, "0")[::-1] for at in range(0, len(bits), 8))
    else:
        bits = "".join(f"{code:09b}" for code in codes)
        pieces = (bits[at : at + 8].ljust(8, "0") for at in range(0, len(bits), 8))
    return bytes(int(piece, 2) for piece in pieces)


@pytest.mark.parametrize("old", [False, True])
def test_the_first_code_of_a_table_stands_for_itself(old):
    for codes in (
        [CLEAR, 65, 66, 258, END],
        [CLEAR, CLEAR, 65, CLEAR, 66, END, 500],
        [CLEAR, END, CLEAR, 400],
        [CLEAR, 65, 300],  # This the decoder finds itself.
    ):
        lzw.check(packed(codes, old))
    for codes in ([CLEAR, 258, 65], [CLEAR, 65, 66, CLEAR, 511, 65], [CLEAR, CLEAR, 300, 65]):
        with pytest.raises(FormatError, match="a code of its LZW stands for nothing"):
            lzw.check(packed(codes, old))


@pytest.mark.parametrize("stream", [b"", b"\0", b"\x80", b"\x80\0", b"\0\1"])
def test_streams_of_next_to_nothing_are_left_to_the_decoder(stream):
    lzw.check(stream)


@pytest.mark.parametrize("levels", [3, 40, 256])
def test_sound_streams_of_many_tables_pass_and_damage_in_a_later_one_is_found(levels):
    content = np.random.default_rng(levels).integers(0, levels, 200_000, np.uint8).tobytes()
    stream = imagecodecs.lzw_encode(content)
    lzw.check(stream)
    joined = packed([CLEAR, 258]) + stream  # As where a table begins that is not sound.
    with pytest.raises(FormatError):
        lzw.check(joined)


@pytest.mark.parametrize("order", [1, 2])
def test_a_file_of_such_a_stream_is_refused(order, tmp_path):
    """Of either order of bits in a byte."""
    picture = Image.fromarray(noise(24, 32, 3))
    data = bytearray(saved(picture, "TIFF", compression="tiff_lzw", tiffinfo={266: order}))
    path, damage = tmp_path / "a.tif", packed([CLEAR, 300])
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path).pixels, noise(24, 32, 3))
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in damage)
    data[start : start + 3] = turned if order == 2 else damage
    path.write_bytes(data)
    with pytest.raises(PictureError, match=r"a\.tif: truncated or damaged TIFF: a code of its LZW"):
        read(path)
