"""neid pack INPUT... --output=PATH [--bytes=5000 | --quality=Q] [--codec=jpeg|webp|avif|jxl]

Makes pictures small for a narrow link: halved, lifted out of the dark by a curve that is chosen
from the picture (a codec's steps are coarse in the dark), and encoded in at most so many bytes.
Any viewer shows such a file. neid enhance knows it, undoes the curve and gives a bright picture
of the size that the packed one had; the file itself says how it was packed, in XMP.

INPUT is a picture file, a folder, which means all pictures below it, or a pattern in quotes such
as 'photos/**/*.jpg'. PATH is a folder, which gets files of the same names but for the suffix, which
is the codec's (a.png becomes a.jpg): of two pictures that would get one name the second is
refused. Subfolders are kept of a folder, not of a pattern. Where there is one input file, PATH may
be the name of the file to write.

  neid pack photos --output=small
  neid pack dark.jpg --output=small.webp --bytes=3000
  neid enhance small --output=bright

A picture that does not fit at a sensible quality is halved once more, and so on, which is told;
neid enhance gives the size from before all the same. Pictures are turned upright. What is not
sent is named: metadata (but for a colour profile of at most a quarter of the bytes, and for EXIF
with --exif), transparency, 16 bits. Runs without the network, its weights and its runtimes.

Exit codes: 0 all done; 1 some input failed (each is named on stderr with its reason, the
rest is done); 2 wrong usage.
"""

from pathlib import PurePath

from absl import flags

from neid_tf import pictures
from neid_tf.commands import common
from neid_tf.commands.tally import Tally
from neid_tf.jobs import packing
from neid_tf.jobs import plan as planning
from neid_tf.jobs.storage import is_address
from neid_tf.jobs.transfer import Transfer
from neid_tf.pictures.codecs import CODECS

_BYTES = flags.DEFINE_integer(
    "bytes",
    None,
    "The most bytes of each file, all that is in it counted. (default: "
    f"{packing.DEFAULT_BYTES}, unless --quality is given)",
    lower_bound=1,
)
_CODEC = flags.DEFINE_enum(
    "codec",
    None,
    list(CODECS),
    "What encodes. jpeg is read everywhere; avif and webp keep more in as many bytes; jxl needs "
    "the extra 'jxl'. (default: what the name of --output says, else jpeg)",
)
_EXIF = flags.DEFINE_bool(
    "exif",
    False,
    "Send EXIF too (camera, time, place, …), without thumbnail and maker's notes. It counts.",
)
common.declare(__name__, common.EXISTING, common.MAX_PIXELS, common.OUTPUT, common.OVERWRITE)
common.declare(__name__, common.QUALITY)


def main(inputs: list[str]) -> int:
    """Pack the inputs; return the exit code."""
    inputs = [common.expanded(item) for item in inputs]
    if not inputs:
        raise flags.ValidationError("no input: name pictures, folders or patterns")
    output = common.required(common.OUTPUT)
    for item in [*inputs, output]:
        if is_address(item):
            raise flags.ValidationError(f"{item} is no file or folder of this machine")
    settings = _settings(output)
    extensions = CODECS[settings.codec].extensions
    known = () if _CODEC.value else [name for codec in CODECS.values() for name in codec.extensions]
    plan = planning.plan(inputs, output, extensions=extensions, known=known)
    tally = Tally(output, plan)
    transfer = Transfer(existing=common.existing())
    max_pixels = common.MAX_PIXELS.value or pictures.DEFAULT_MAX_PIXELS
    tally.note_all(packing.pack_files(plan.jobs, transfer, settings, max_pixels))
    return tally.close()


def _settings(output: str) -> packing.Settings:
    """Return what the flags ask for.

    Args:
        output: its suffix names the codec where no flag does.
    """
    quality, most = common.QUALITY.value, _BYTES.value
    if quality and most:
        raise flags.ValidationError("--bytes and --quality: give one of them")
    suffix = PurePath(output).suffix.lower()
    named = (name for name, codec in CODECS.items() if suffix in codec.extensions)
    codec = _CODEC.value or next(named, "jpeg")
    most = None if quality else most or packing.DEFAULT_BYTES
    return packing.Settings(codec, most, quality, _EXIF.value)
