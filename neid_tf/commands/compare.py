"""neid compare INPUT --output=figure.png [--reference=FILE] [--methods=neid,lime,…]

Draws one figure of a low-light picture: the input, what each method makes of it, and the
reference if there is one. Below each are enlarged crops, --zoom=top,left,height,width in
pixels of the input, up to four times; without --zoom two squares are chosen, the most detailed
one of the picture's darker half and of its brighter half. With a reference the labels give PSNR
and SSIM.

Exit codes: 0 done; 1 failed; 2 wrong usage.
"""

import typing
from pathlib import Path

from absl import flags

from neid_tf import pictures
from neid_tf.commands import common, terminal
from neid_tf.inference import methods

if typing.TYPE_CHECKING:
    from neid_tf.evaluation.crops import Crop

DEFAULT = [*sorted(methods.CLASSICAL), "neid"]

_REFERENCE = common.define_path(
    "reference", None, "The well-exposed picture, of the input's size, to compare with."
)
_METHODS = flags.DEFINE_list(
    "methods",
    DEFAULT,
    "The methods to show, in this order, with commas: those of --method of neid enhance. "
    "NAME=FILE gives a network weights of its own, also several times: neid,neid=neid_s.",
)
# Not --crop: that is the side of the training crops.
_ZOOM = flags.DEFINE_multi_string(
    "zoom", [], "A part to enlarge, as top,left,height,width in pixels of the input"
)
common.declare(__name__, common.OUTPUT, common.OVERWRITE, common.WEIGHTS)


def main(arguments: list[str]) -> None:
    """Draw the figure of one picture."""
    if len(arguments) != 1:
        raise flags.ValidationError(f"one input picture is compared, not {len(arguments)}")
    from neid_tf.evaluation import panels
    from neid_tf.evaluation.crops import choose_crops

    source, output = Path(common.expanded(arguments[0])), Path(common.required(common.OUTPUT))
    crops, names = [crop_of(text) for text in _ZOOM.value], common.required(_METHODS)
    if len(crops) > len(panels.COLOURS):
        raise flags.ValidationError(f"--zoom is given {len(crops)} times, at most 4 have room")
    if common.WEIGHTS.present and "neid" not in names:
        raise flags.ValidationError("--weights is for neid, which is not one of --methods")
    _check_suffix(output)
    common.check_outputs([output], [source, *filter(None, [_REFERENCE.value])])
    low, reference = panels.read(source, terminal.report), None
    if _REFERENCE.value:
        reference = panels.read_reference(_REFERENCE.value, source, low, terminal.report)
    guide = low if reference is None else reference
    for crop in crops:
        crop.of(guide)
    functions = methods.load_all(names, common.WEIGHTS.value)
    for function in functions.values():
        terminal.with_notes_shown(function)
    shown = panels.compare(low, functions, reference)
    drawn = panels.figure(shown, crops or choose_crops(guide))
    output.parent.mkdir(parents=True, exist_ok=True)
    pictures.write(output, pictures.Picture(drawn))


def crop_of(text: str) -> "Crop":
    """Read ``top,left,height,width``; anything else is a mistake of usage."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise flags.ValidationError(f"--zoom is top,left,height,width in pixels, not {text!r}")
    from neid_tf.evaluation.crops import Crop

    return Crop(*map(int, parts))


def _check_suffix(output):
    if output.suffix.lower() not in pictures.WRITABLE:
        known = ", ".join(sorted(pictures.WRITABLE))
        raise flags.ValidationError(f"--output ends in one of {known}: {str(output)!r}")
