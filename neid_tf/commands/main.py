"""``neid COMMAND``: parses flags, runs one command, turns its outcome into an exit code."""

import importlib
import os
import sys

from absl import flags

from neid_tf import __version__
from neid_tf.support.errors import UsageError
from neid_tf.support.libraries import MissingLibraryError

COMMANDS = {
    "enhance": "brighten pictures and folders of pictures",
    "train": "train a model on pairs of pictures",
    "evaluate": "score a model on pairs of pictures",
    "export": "write a model for other runtimes",
    "benchmark": "measure speed, as ratios within one run",
    "compare": "draw one figure of a picture by several methods",
    "demo": "serve a web page that enhances what is dropped on it",
}
OK, FAILED, USAGE = 0, 1, 2


class Failure(Exception):
    """What the user asked for can't be done; the message is the one line they see."""


def usage():
    """Return the text of ``neid --help``."""
    rows = "\n".join(f"  {name:<11}{text}" for name, text in COMMANDS.items())
    return f"neid {__version__}: low-light pictures made bright and detailed\n\n{rows}\n\n" + (
        "neid COMMAND --help tells about a command."
    )


def main(argv=None):
    """Run ``neid`` with these arguments (``sys.argv`` if None); return the exit code."""
    argv = list(sys.argv if argv is None else argv)
    if len(argv) < 2 or argv[1] in ("-h", "--help", "help"):
        print(usage())
        return OK if len(argv) > 1 else USAGE
    if argv[1] == "--version":
        print(__version__)
        return OK
    if argv[1] not in COMMANDS:
        return _complain(f"no command {argv[1]!r}; there are {', '.join(COMMANDS)}", USAGE)
    return run(argv[1], argv[1:])


def run(command, argv):
    """Run one command; ``argv[0]`` is its name."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        module = importlib.import_module(f"neid_tf.commands.{command}")
        if any(argument in ("-h", "--help", "-help") for argument in argv[1:]):
            print(help_text(module))
            return OK
        arguments = flags.FLAGS(argv)[1:]
        return module.main(arguments) or OK
    except (flags.Error, UsageError) as error:
        return _complain(f"{command}: {error} (neid {command} --help)", USAGE)
    except (Failure, ValueError, OSError, FloatingPointError) as error:
        return _complain(f"{command}: {error}", FAILED)
    except ModuleNotFoundError as error:
        return _complain(MissingLibraryError(f"neid {command}", error.name), FAILED)
    except KeyboardInterrupt:
        return _complain(f"{command}: interrupted", 130)


def _complain(message, code):
    print(f"neid: {message}", file=sys.stderr)
    return code


def help_text(module):
    """Return a command's documentation and its flags with their defaults."""
    return f"{module.__doc__.strip()}\n\nFlags:\n{flags.FLAGS.module_help(module)}"


def script():
    """Run ``neid`` and leave with its exit code."""
    sys.exit(main())


if __name__ == "__main__":
    script()
