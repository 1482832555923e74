"""``neid COMMAND``: parses flags, runs one command, turns its outcome into an exit code."""

import gc
import importlib
import os
import re
import sys
import traceback
from types import ModuleType

from absl import flags

from neid_tf.commands import common, start, terminal
from neid_tf.support.errors import NeidError, UsageError, reason_of
from neid_tf.support.version import __version__

COMMANDS = {
    "enhance": "brighten pictures, videos and folders of them",
    "pack": "make pictures small for a narrow link, for neid enhance at its other end",
    "train": "train a model on pairs of pictures",
    "evaluate": "score a model on pairs of pictures",
    "export": "write a model for other runtimes",
    "benchmark": "measure speed, as ratios within one run",
    "compare": "draw one figure of a picture by several methods",
    "demo": "serve a web page that enhances what is dropped on it",
    "serve": "enhance the pictures that are sent over HTTP",
    "watch": "enhance the files of a folder as they arrive",
    "live": "enhance a camera or a stream as it comes",
}
QUIET_COMMANDS = {"enhance", "pack", "evaluate", "compare", "export"}
"""Those of which only our own words are shown. The others run for long, or measure."""
OK, FAILED, USAGE = 0, 1, 2
HELP = ("-h", "--help", "-help")
_DEBUG = re.compile(r"--?debug(=(?i:true|t|1))?")


def usage() -> str:
    """Return the text of ``neid --help``."""
    rows = "\n".join(f"  {name:<11}{text}" for name, text in COMMANDS.items())
    return f"""neid {__version__}: low-light pictures made bright and detailed

Usage: neid COMMAND [ARGUMENT...] [--FLAG=VALUE...]

{rows}

For example: neid enhance photos --output=bright
neid COMMAND --help tells about a command and its flags. neid --version prints the version.
With --debug, any command shows where in the program an error came from.
Exit codes: 0 all done; 1 something failed, each named on stderr; 2 wrong usage."""


def main(argv: list[str] | None = None) -> int:
    """Run ``neid`` with these arguments (``sys.argv`` if None); return the exit code."""
    argv = list(sys.argv if argv is None else argv)
    terminal.prepare_streams()
    try:
        code = _run_named(argv)
        terminal.flush()
        return code
    except NeidError as error:
        return _complain(str(error), FAILED)


def _run_named(argv: list[str]) -> int:
    if len(argv) < 2 or argv[1] in (*HELP, "help"):
        terminal.show(usage())
        return OK if len(argv) > 1 else USAGE
    if argv[1] == "--version":
        terminal.show(__version__)
        return OK
    if argv[1] not in COMMANDS:
        return _complain(f"no command {argv[1]!r}; there are {', '.join(COMMANDS)}", USAGE)
    return run(argv[1], argv[1:])


def run(command: str, argv: list[str]) -> int:
    """Run one command; return the exit code.

    Args:
        command: one of :data:`COMMANDS`.
        argv: the command's name, its arguments and flags.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # NumPy's threads sleep at once while there is nothing to do, rather than turn in circles.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    with terminal.ended_by_signals() as received:
        try:
            return _run(command, argv)
        except BaseException as error:
            # A library may turn an interruption into an error of its own.
            if received or isinstance(error, KeyboardInterrupt):
                return _complain(f"{command}: {terminal.ending(received)}", 128 + received.number)
            if not isinstance(error, Exception):
                raise
            if terminal.nobody_reads(error):
                return 128 + 13  # Nobody reads what it prints: as other programs end.
            if _debugs(argv):
                traceback.print_exc()
            return _complain(*_message_of(command, error))


def _debugs(argv):
    """Tell whether errors are shown with their places; of arguments that need not be sound."""
    return any(map(_DEBUG.fullmatch, argv))


def _run(command: str, argv: list[str]) -> int:
    module = importlib.import_module(f"neid_tf.commands.{command}")
    gc.freeze()  # It need not look through the modules again and again.
    gc.enable()
    common.declare(module.__name__, common.DEBUG)
    if any(argument in HELP for argument in argv[1:]):
        terminal.show(help_text(module))
        return OK
    arguments = flags.FLAGS(argv)[1:]
    _refuse_flags_of_others(module)
    if common.WEIGHTS.value == "help":
        from neid_tf.models import presets  # NumPy takes a while to start.

        terminal.show(presets.table())
        return OK
    return module.main(arguments) or OK


def _refuse_flags_of_others(module):
    """Refuse flags that other commands have; absl knows all that any loaded module defines."""
    own = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(module)}
    homes = flags.FLAGS.flags_by_module_dict().items()
    ours = [flag for home, defined in homes if home.startswith("neid_tf.") for flag in defined]
    others = [f"--{flag.name}" for flag in ours if flag.present and flag.name not in own]
    if others:
        raise UsageError(f"{', '.join(others)}: no flag of this command")


def _message_of(command: str, error: Exception) -> tuple[str, int]:
    """Return what is said of an error, and the exit code."""
    if isinstance(error, (flags.Error, UsageError)):
        return f"{command}: {error} (neid {command} --help)", USAGE
    if isinstance(error, NeidError):
        return f"{command}: {error}", FAILED
    if isinstance(error, ModuleNotFoundError):
        from neid_tf.support.libraries import MissingLibraryError

        return str(MissingLibraryError(f"neid {command}", error.name or str(error))), FAILED
    if isinstance(error, OSError) and error.errno is not None:
        names = [os.fsdecode(n) for n in (error.filename, error.filename2) if n is not None]
        return ": ".join([command, *names, reason_of(error)]), FAILED
    if isinstance(error, MemoryError):
        return f"{command}: not enough memory", FAILED
    fault = f"{type(error).__name__}: {reason_of(error)}"
    return f"{command}: a fault of the program ({fault}); --debug shows where", FAILED


def _complain(message: str, code: int) -> int:
    terminal.report(message)
    return code


def help_text(module: ModuleType) -> str:
    """Return a command's documentation and its flags with their defaults.

    What installs an extra depends on where this package came from: ``{install EXTRA}`` in the
    documentation stands for it.
    """
    from neid_tf.support.libraries import install_extra

    text = re.sub(r"\{install (\w+)\}", lambda found: install_extra(found[1]), module.__doc__)
    return f"{text.strip()}\n\nFlags:\n{flags.FLAGS.module_help(module)}"


def script() -> None:
    """Run ``neid`` and leave with its exit code."""
    if set(sys.argv[1:2]) <= QUIET_COMMANDS and not _debugs(sys.argv):
        terminal.drop_native_output()
    terminal.leave(main())


if __name__ == "__main__":
    start.script()
