"""Flags that several commands have, and flags made from the fields of a configuration."""

import os
import shlex
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from neid_tf.commands.paths import define_path, expanded
from neid_tf.support.errors import NeidError, reason_of
from neid_tf.support.fields import leaf_fields, unflatten

DATA = define_path(
    "data",
    None,
    "Folder of pairs: the low-light pictures low/NAME.* and their well-exposed references "
    "high/NAME.*, of one name before the extension.",
)
OUTPUT = define_path(
    "output", None, "The file or folder to write, as said above. Missing folders are made."
)
WEIGHTS = define_path(
    "weights",
    "neid",
    "The trained network: a name of the package's, or the path of a file that neid train or neid "
    "export wrote. help: the names, with the size, time and score of each.",
    kind="a name or a path",
)
METHOD = flags.DEFINE_string(
    "method",
    "neid",
    "What enhances: neid, the network; one of its learned rivals retinexnet, glad and kind, of "
    "which the last needs --weights=FILE of neid train; or one of the classical methods msr, npe, "
    "dong, mf, lime, crm and bimef, which need no --weights. All but neid keep the size.",
)
PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "bfloat16"],
    "What the network computes in. bfloat16, with TensorFlow only, is for processors that multiply "
    "in it (AMX or AVX512-BF16, or a GPU): there a long job takes down to 0.4 of the time, and "
    "hardly a value of 255 changes by more than 1; elsewhere it is slow.",
)

MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    None,
    "The most pixels, width times height, that a picture or a frame of a video may have. Larger "
    "ones are named and not done, so this bounds the memory; but neid enhance does TIFFs by "
    "windows, with the extra 'geo'. (default: 178,956,970; 50,000,000 for neid demo and neid "
    "serve)",
    lower_bound=1,
)
DEBUG = flags.DEFINE_bool(
    "debug", False, "Show where in the program an error came from: the traceback, on stderr."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace outputs that exist already.")
EXISTING = flags.DEFINE_enum(
    "existing",
    None,
    ["fail", "skip", "overwrite"],
    "What becomes of outputs that exist already. fail: the input is named as failed; skip: they "
    "are left as they are, and counted; overwrite: they are replaced. (default: fail; skip with "
    "--engine=ray and for neid watch)",
)
QUALITY = flags.DEFINE_integer(
    "quality",
    None,
    "Quality of what is encoded with loss; less makes smaller files.",
    lower_bound=1,
    upper_bound=100,
)
FORMAT = flags.DEFINE_string("format", None, "The format that is written, see above.")


class Failure(NeidError):
    """What the user asked for can't be done; the message is the one line they see."""


def declare(module: str, *holders: flags.FlagHolder) -> None:
    """Show shared flags in the help of a command."""
    for holder in holders:
        flags.FLAGS.register_key_flag_for_module(module, flags.FLAGS[holder.name])


def required(holder: flags.FlagHolder) -> Any:
    """Return a flag's value.

    Raises:
        absl.flags.ValidationError: where it is not given, or empty.
    """
    if holder.value in (None, "", []):
        raise flags.ValidationError(f"--{holder.name} is missing")
    return holder.value


def existing(default: str = "fail") -> str:
    """Return what becomes of outputs that exist: see :data:`neid_tf.jobs.transfer.EXISTING`.

    Args:
        default: where no flag says it.

    Raises:
        absl.flags.ValidationError: where two flags say different things.
    """
    if OVERWRITE.value:
        if EXISTING.value not in (None, "overwrite"):
            raise flags.ValidationError(f"--overwrite and --existing={EXISTING.value} differ")
        return "overwrite"
    return EXISTING.value or default


def check_apart(
    flag: str, written: str | os.PathLike, folders: Iterable[str | os.PathLike], held: str
) -> None:
    """Refuse a folder to write to that is one of those that are read, or lies in one.

    Args:
        flag: that names it.
        written: the folder.
        folders: that are read.
        held: what they hold, for the message.

    Raises:
        Failure: where it is.
    """
    place = Path(os.path.realpath(written))
    if not {place, *place.parents}.isdisjoint(Path(os.path.realpath(folder)) for folder in folders):
        raise Failure(f"--{flag}={written}: {held} are there")


def check_outputs(
    outputs: Iterable[str | os.PathLike],
    inputs: Iterable[str | os.PathLike],
    is_ours: Callable[[Path], bool] = lambda path: False,
) -> None:
    """Refuse, before the work begins, files that can't or must not be written.

    Args:
        outputs: the files to write. One that exists is refused without --overwrite, and one that
            is named twice always.
        inputs: the files that are read. None of them is replaced, with --overwrite neither.
        is_ours: tells of a file that exists whether it is replaced without --overwrite too.

    Raises:
        Failure: naming the first of them.
    """
    from neid_tf.jobs.storage import LocalStorage  # It loads NumPy.

    identity = LocalStorage().identity
    read, written = {identity(os.fspath(path)) for path in inputs}, set()
    folders: dict[Path, Path] = {}
    for output in map(Path, outputs):
        folder = next(place for place in output.absolute().parents if place.exists())
        if not folder.is_dir():
            raise Failure(f"{output}: {folder} is no folder")
        if output.exists() and not output.is_file():
            raise Failure(f"{output}: is a {'folder' if output.is_dir() else 'device'}, no file")
        place = identity(os.fspath(output))
        if place in read:
            raise Failure(f"{output}: the output is an input")
        if place in written:
            raise Failure(f"{output}: two outputs are this one file")
        if os.path.lexists(output) and not (OVERWRITE.value or is_ours(output)):
            raise Failure(f"{output}: is there already; --overwrite replaces it")
        written.add(place)
        folders.setdefault(folder, output)
    for folder, output in folders.items():
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = reason_of(error)
            raise Failure(f"{output}: {folder} can't be written to: {reason}") from error


def chosen_format(known: Collection[str]) -> str:
    """Return the format that is asked for; empty where none is.

    Args:
        known: the names of those that there are.

    Raises:
        absl.flags.ValidationError: for another.
    """
    if FORMAT.value and FORMAT.value not in known:
        raise flags.ValidationError(
            f"flag --format={FORMAT.value}: value should be one of <{'|'.join(known)}>"
        )
    return FORMAT.value or ""


def define_fields(config_class: type, optional: bool = False) -> dict[str, flags.FlagHolder]:
    """Define one flag for each field of a configuration.

    Args:
        config_class: configuration whose fields, and those of its parts, have ``help`` in their
            metadata, and there also the rules of
            :func:`neid_tf.support.fields.config_field`.
        optional: the flags have no value unless they are given.

    Returns:
        The flags' holders by the fields' names.
    """
    return {field.name: _define(field, optional) for field in leaf_fields(config_class)}


def _define(field, optional):
    name, rules = field.name, field.metadata
    default = None if optional else field.default
    if "choices" in rules:
        return flags.DEFINE_enum(name, default, rules["choices"], rules["help"])
    if rules.get("path"):
        return define_path(name, default, rules["help"], kind="a name or a path")
    bounds = {"lower_bound": rules.get("minimum"), "upper_bound": rules.get("maximum")}
    bounds = {} if field.type in (bool, str) else bounds
    define = {
        bool: flags.DEFINE_bool,
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
    }[field.type]
    return define(name, default, rules["help"], **bounds)


def command_line(command: str, leave_out: Collection[str] = ()) -> list[str]:
    """Return the words, quoted for a shell, of the command line that gives all flags their values.

    Args:
        command: the name of the command that runs.
        leave_out: flags that are left out, such as where things are.
    """
    return [shlex.quote(word) for word in command_words(command, leave_out)]


def command_words(command: str, leave_out: Collection[str] = ()) -> list[str]:
    """Return the words of the command line that gives all flags their values, not quoted.

    Args:
        command: the name of the command that runs.
        leave_out: flags that are left out, such as where things are.
    """
    by_module = flags.FLAGS.flags_by_module_dict()
    homes = (f"neid_tf.commands.{command}", __name__, "absl.flags")
    changed = [f for home in homes for f in by_module.get(home, []) if not f.using_default_value]
    given = [f.serialize() for f in changed if f.name not in leave_out]
    return ["neid", command, *given]


def from_flags(config_class: type, holders: Mapping[str, flags.FlagHolder]) -> Any:
    """Make a configuration of the flags' values.

    Args:
        config_class: as for :func:`define_fields`.
        holders: what that gave.

    Raises:
        absl.flags.ValidationError: where a value is out of its bounds.
    """
    try:
        return unflatten(config_class, {name: holder.value for name, holder in holders.items()})
    except NeidError as error:
        raise flags.ValidationError(str(error)) from error


__all__ = [
    "DATA",
    "DEBUG",
    "EXISTING",
    "FORMAT",
    "MAX_PIXELS",
    "METHOD",
    "OUTPUT",
    "OVERWRITE",
    "QUALITY",
    "WEIGHTS",
    "Failure",
    "check_outputs",
    "chosen_format",
    "command_line",
    "declare",
    "define_fields",
    "define_path",
    "existing",
    "expanded",
    "from_flags",
    "required",
]
