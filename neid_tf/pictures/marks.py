"""How files of some formats begin, are called, and how large they may be.

The table of formats knows these before the module that codes a format is loaded.
"""

from __future__ import annotations

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""What a TIFF begins with, and what some cameras' raw files do."""
SHAPE = '{"shape": '
"""What a description begins with that tifffile writes where there is none."""
JPEG_2000, JPEG_2000_CODESTREAM = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
JPEG_XL, JPEG_XL_CODESTREAM = b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"
DNG_VERSION = 50706
"""The tag by which a TIFF says that it is a camera's raw file (DNG)."""
SAMPLE_TAGS = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281),
    *(284, 288, 289, 292, 293, 297, 317, 320, 322, 323, 324, 325, 326, 327, 328, 332, 334, 336),
    *(338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
    *(32997, 34925, 50674, 50908),
}
"""Tags of a TIFF that its samples can't be read without."""
LAYOUT_TAGS = {*SAMPLE_TAGS, 274, 282, 283, 296, 330}
"""Those, and what else the picture has a place for: orientation, resolution, and pages below."""
CAMERA_RAW = (
    *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".raf", ".rw2", ".rwl"),
    *(".orf", ".pef", ".srw", ".3fr", ".fff", ".erf", ".mef", ".mrw", ".iiq", ".x3f", ".gpr"),
)
"""What the files of cameras are called."""
HEIF_BITS = 12
"""The most bits of a sample; what a HEIC is written with where the picture has more than 8."""
LONGEST_HEIF, LONGEST_WEBP = 32_768, 16_383
"""The longest sides that are read again, in pixels."""
_HEIF_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")


def heif_brand(start: bytes) -> bytes:
    """Return the first brand of AVIF or HEIC that a file of boxes names; empty if none."""
    named = [start[8:12], *(start[at : at + 4] for at in range(16, min(len(start), 64), 4))]
    known = [brand for brand in named if brand in _HEIF_BRANDS]
    return known[0] if start[4:8] == b"ftyp" and known else b""
