"""How errors, signals and strange streams end the program."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys

import pytest
from PIL import Image

from neid_tf.commands import enhance, terminal
from neid_tf.commands import main as program
from neid_tf.support.errors import NeidError, UsageError
from tests.conftest import darkened, picture, write


def ended(error, monkeypatch, capsys, *flags):
    """Return the exit code and stderr of a command that raises an error."""
    from absl import flags as absl_flags

    def failing(_):
        raise error

    monkeypatch.setattr(enhance, "main", failing)
    try:
        return program.main(["neid", "enhance", *flags]), capsys.readouterr().err
    finally:
        absl_flags.FLAGS.unparse_flags()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NeidError("a.png: bad"), 1, "neid: enhance: a.png: bad"),
        (UsageError("no"), 2, "neid: enhance: no (neid enhance --help)"),
        (FileNotFoundError(2, "No such file", "x/y"), 1, "neid: enhance: x/y: no such file"),
        (OSError(28, "No space left on device"), 1, "neid: enhance: no space left on device"),
        (MemoryError(), 1, "neid: enhance: not enough memory"),
        (
            ValueError("shapes (2,) and (3,)"),
            1,
            "neid: enhance: a fault of the program (ValueError: shapes (2,) and (3,)); "
            "--debug shows where",
        ),
        (
            RuntimeError("one\ntwo"),
            1,
            "neid: enhance: a fault of the program (RuntimeError: one two); --debug shows where",
        ),
        (NeidError("in\x1b[2J/\udcff.png"), 1, r"neid: enhance: in\x1b[2J/\xff.png"),
    ],
)
def test_errors_are_one_line(error, code, line, monkeypatch, capsys):
    assert ended(error, monkeypatch, capsys) == (code, line + "\n")


@pytest.mark.parametrize("flag", ["--debug", "-debug", "--debug=True", "--debug=1"])
def test_debug_shows_where(flag, monkeypatch, capsys):
    code, err = ended(KeyError("x"), monkeypatch, capsys, flag)
    assert code == 1
    assert err.startswith("Traceback")
    assert "in failing" in err


def test_all_exceptions_of_the_package_have_one_root():
    import pkgutil

    import neid_tf

    for module in pkgutil.walk_packages(neid_tf.__path__, "neid_tf."):
        if module.name.split(".")[1] in ("demo", "models", "training", "benchmarks"):
            continue  # They take Keras; their errors are looked at where they are raised.
        for value in vars(importlib.import_module(module.name)).values():
            ours = isinstance(value, type) and value.__module__.startswith("neid_tf.")
            if ours and issubclass(value, BaseException):
                assert issubclass(value, NeidError), value


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_that_a_library_turns_into_its_own_error(number, code, word, monkeypatch, capsys):
    def importing(_):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ImportError("cannot import name 'x'", name="x") from None

    monkeypatch.setattr(enhance, "main", importing)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    assert program.run("enhance", ["enhance"]) == code
    assert capsys.readouterr().err == f"neid: enhance: {word}\n"


INTERRUPTING = """
import atexit, os, signal, sys

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["MOMENT"]:
            interrupt()

signal.signal(signal.SIGINT, signal.default_int_handler)  # As at a terminal, whoever started us.
sys.meta_path.insert(0, Finder())
if os.environ["MOMENT"] == "its end":
    atexit.register(interrupt)
"""
"""Interrupts a process of Python when it first imports a module, or when it ends."""


@pytest.mark.parametrize(
    "moment",
    [
        *("neid_tf.commands.main", "absl", "PIL", "neid_tf.commands.enhance", "numpy"),
        *("neid_tf.jobs.local", "onnxruntime", "neid_tf.pictures.png", "its end"),
    ],
)
def test_an_interruption_at_any_moment_of_the_start_is_one_line(moment, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING, "utf-8")
    [entry, *_] = importlib.metadata.entry_points(group="console_scripts", name="neid")
    module, function = entry.module, entry.attr
    # As in the file that an installation writes.
    wrapper = f"import sys\nfrom {module} import {function}\nsys.exit({function}())"
    dark = write(tmp_path / "dark.png", darkened(picture(24, 36)))
    options = ["--weights=neid_s", "--runtime=onnx", f"--output={tmp_path / 'bright.png'}"]
    path = os.pathsep.join((str(tmp_path), *filter(None, sys.path)))
    done = subprocess.run(
        [sys.executable, "-c", wrapper, "enhance", str(dark), *options],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "MOMENT": moment},
    )
    assert done.returncode == 130
    assert re.fullmatch(r"neid: (enhance: )?interrupted", done.stderr.splitlines()[-1])
    assert len(done.stderr.splitlines()) == 1 or moment == "its end"  # Where it tells what is done.
    assert (tmp_path / "bright.png").exists() == (moment == "its end")


def neid(*arguments, **environment):
    command = [sys.executable, "-m", "neid_tf.commands.main", *arguments]
    return subprocess.run(command, capture_output=True, env=os.environ | environment)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_help_in_any_encoding(encoding):
    result = neid("enhance", "--help", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (result.returncode, result.stderr) == (0, b"")
    assert "--output" in result.stdout.decode(encoding)
    assert terminal.printable("é×…") == "é×…"


def test_help_that_nobody_reads_to_its_end():
    command = f"'{sys.executable}' -m neid_tf.commands.main train --help | head -n 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize(
    "arguments",
    ["--version", "--help", "pack --help", "pack dark.png --output=small.jpg"],
)
@pytest.mark.parametrize(("place", "code"), [(">&-", 0), (">/dev/full", 1)])
def test_output_that_has_no_place(arguments, place, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "dark.png", darkened(picture(24, 36)))
    command = f"'{sys.executable}' -m neid_tf.commands.main {arguments} {place}"
    done = subprocess.run(command, shell=True, capture_output=True)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (code, code)
    assert all(line.endswith("standard output: no space left on device") for line in lines)
    assert ("dark.png" in arguments) == (tmp_path / "small.jpg").exists()


@pytest.mark.parametrize(
    ("given", "place", "code"),
    [
        ("none.png dark.png", "2>/dev/full", 1),
        ("none.png dark.png", "2>&1 >/dev/null | true", 1),
        ("dark.png pages.tif", "2>&1 >/dev/null | true", 0),
    ],
)
def test_what_can_not_be_said_changes_nothing(given, place, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "dark.png", darkened(picture(24, 36)))
    pages = [Image.fromarray(darkened(picture(24, 36)))] * 2
    pages[0].save("pages.tif", save_all=True, append_images=pages[1:])
    command = f"'{sys.executable}' -m neid_tf.commands.main enhance {given} --output=out"
    command += f" --method=bimef --format=jpeg {place}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True)
    assert (done.returncode, done.stderr) == (code, b"")
    assert (tmp_path / "out" / "dark.jpg").exists()


def test_output_that_nobody_reads_on_windows(monkeypatch, capsys):
    """Its pipes have another error, which elsewhere is a fault."""
    error = OSError(22, "Invalid argument")
    code, err = ended(error, monkeypatch, capsys)
    assert (code, err) == (1, "neid: enhance: invalid argument\n")
    monkeypatch.setattr(terminal, "WINDOWS", True)
    assert ended(error, monkeypatch, capsys) == (141, "")
    assert ended(OSError(22, "Invalid argument", "a.png"), monkeypatch, capsys)[0] == 1


def test_names_of_any_characters_are_printable():
    assert terminal.printable("a\x1b[31m\r\x07b\u202ec\u2028\x9b") == (
        r"a\x1b[31m\r\x07b\u202ec\u2028\x9b"
    )
    assert terminal.printable("Grüße, 写真 👨‍👩‍👧\n  x") == "Grüße, 写真 👨‍👩‍👧\n  x"


def test_paths_of_all_flags_may_begin_at_home(monkeypatch, tmp_path):
    from absl import flags

    monkeypatch.setenv("HOME", str(tmp_path))
    for module, names in {
        "compare": ("output", "weights", "reference"),
        "benchmark": ("output", "plot", "tiled_picture"),
        "export": ("output", "representative"),
        "demo": ("samples",),
        "serve": ("api_keys", "weights"),
        "evaluate": ("data", "output", "save", "outputs", "only"),
        "train": ("data", "workdir", "validation", "init"),
    }.items():
        listed = program.help_text(importlib.import_module(f"neid_tf.commands.{module}"))
        for name in names:
            assert f"--{name}:" in listed
            assert flags.FLAGS[name].parser.parse("~/x") == f"{tmp_path}/x"
            assert flags.FLAGS[name].parser.parse("a~/~") == "a~/~"


NOISY = """
import os, sys
from neid_tf.commands import enhance, main
def noisy(_):
    os.write(2, b"native noise\\n")
    print("our own", file=sys.stderr)
    raise ValueError("x")
enhance.main = noisy
sys.argv = ["neid", "enhance", *sys.argv[1:]]
main.script()
"""


@pytest.mark.parametrize("flags", [[], ["--debug"]])
def test_native_code_is_heard_with_debug_only(flags):
    result = subprocess.run([sys.executable, "-c", NOISY, *flags], capture_output=True, text=True)
    assert result.returncode == 1
    assert "our own\n" in result.stderr
    assert ("native noise" in result.stderr) == bool(flags)


@pytest.mark.parametrize("command", program.COMMANDS)
def test_every_flag_says_what_it_is_for(command):
    from absl import flags

    from neid_tf.inference.methods import METHODS

    module = importlib.import_module(f"neid_tf.commands.{command}")
    program.help_text(module)
    for flag in flags.FLAGS.get_key_flags_for_module(module.__name__):
        assert len(flag.help) > 15, flag.name
        assert "None" not in flag.help, flag.name
    assert all(name in flags.FLAGS["method"].help for name in METHODS)
