"""neid export --format=saved_model|onnx|litert --output=PATH [--weights=NAME|PATH]

Writes a model for other runtimes. It takes RGB pictures of values in [0, 1], N×h×w×3, and
makes N×2h×2w×3 of them; for an output of a picture's own size, halve the picture first, as
neid enhance does. PATH is written whole or not at all, after the export was loaded back and
compared with the model.

saved_model  A folder for TensorFlow and TensorFlow Serving; any size. Signatures:
             serving_default (float32), uint8, encoded: files (JPEG, PNG, …) to PNG files of
             the same size, 8 bits, without alpha and not turned as their EXIF says; and those
             that neid itself uses.
onnx         A .onnx file for ONNX Runtime; any size.
litert       A .tflite file of built-in operators, for one picture of one size at a time.
             --quantize=int8 makes it smaller and faster, at some loss: the PSNR against the
             float model is printed. It needs --representative, a folder of low-light pictures.

onnx and litert need: {install export}

Exit codes: 0 done; 1 failed; 2 wrong usage.
"""

from pathlib import Path

from absl import flags

from neid_tf import pictures
from neid_tf.commands import common, terminal
from neid_tf.data.pairs import is_picture
from neid_tf.inference import runtimes
from neid_tf.support import keras_start
from neid_tf.support.errors import NeidError

_REPRESENTATIVE_PICTURES = 32

_HEIGHT = flags.DEFINE_integer(
    "height",
    200,
    "litert: height of the model's input, in pixels: half that of the largest picture that "
    "neid enhance is to do with it at its own size.",
    lower_bound=1,
)
_WIDTH = flags.DEFINE_integer(
    "width", 300, "litert: width of the model's input, in pixels; see --height.", lower_bound=1
)
_QUANTIZE = flags.DEFINE_enum(
    "quantize", "none", ["none", "int8"], "litert: none for float32; int8 for 8-bit layers."
)
_REPRESENTATIVE = common.define_path(
    "representative",
    None,
    "litert with --quantize=int8: folder of low-light pictures, at full size, whose values the "
    f"8 bits are to hold. At most {_REPRESENTATIVE_PICTURES} are used, evenly picked by name.",
)
_LITERT_ONLY = (_HEIGHT, _WIDTH, _QUANTIZE, _REPRESENTATIVE)
common.declare(__name__, common.FORMAT, common.OUTPUT, common.WEIGHTS, common.OVERWRITE)


def main(arguments: list[str]) -> None:
    """Export as the flags say."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    common.required(common.FORMAT)
    format, output = common.chosen_format(runtimes.SUFFIXES), common.required(common.OUTPUT)
    _check_usage(format, output)
    _check_output(format, output)
    _check_weights()
    options = {"overwrite": common.OVERWRITE.value}
    if format == "litert":
        options["size"] = (_HEIGHT.value, _WIDTH.value)
        options["representative"] = _representative()
    keras_start.import_keras()
    from neid_tf import export
    from neid_tf.models import pretrained

    write = {
        "saved_model": export.to_saved_model,
        "onnx": export.to_onnx,
        "litert": export.to_litert,
    }[format]
    model = pretrained.load_pretrained(common.WEIGHTS.value)
    _report(output, write(model, output, **options))


def _check_usage(format, output):
    suffix = runtimes.SUFFIXES[format]
    if suffix and Path(output).suffix != suffix:
        raise flags.ValidationError(f"--output of --format={format} ends in {suffix}: {output!r}")
    for holder in _LITERT_ONLY if format != "litert" else ():
        if holder.present:
            raise flags.ValidationError(f"--{holder.name} is for --format=litert only")
    if (_QUANTIZE.value == "int8") != bool(_REPRESENTATIVE.value):
        raise flags.ValidationError("--quantize=int8 and --representative go together")


def _check_output(format, output):
    """Refuse an output that can't be, or must not be, written."""
    file = Path(output)
    if format == "saved_model":
        file /= "saved_model.pb"
        if Path(output).is_dir():
            runtimes.check_replaced(output)
    common.check_outputs([file], [common.WEIGHTS.value])


def _check_weights():
    """Refuse weights that can't be read, or exported."""
    from neid_tf.models import pretrained
    from neid_tf.models.config import RIVALS

    name = pretrained.architecture(common.WEIGHTS.value)
    if name in RIVALS:
        raise NeidError(f"{common.WEIGHTS.value}: {name} is not exported")


def _representative():
    """Return the pixels of the representative pictures; None for a float model."""
    if not _REPRESENTATIVE.value:
        return None
    folder = Path(_REPRESENTATIVE.value)
    found = sorted(filter(is_picture, folder.iterdir()))
    if not found:
        raise NeidError(f"{folder}: no pictures there")
    step = -(-len(found) // _REPRESENTATIVE_PICTURES)
    return [pictures.read_pixels(path, terminal.report) for path in found[::step]]


def _report(output, comparison):
    files = [path for path in (Path(output), *Path(output).rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    terminal.show(
        f"{output}: {size:.1f} MB; off from the model by {comparison.difference:.2g} at most "
        f"(of 1), PSNR {comparison.psnr:.1f} dB"
    )
