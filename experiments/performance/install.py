"""Weigh an install: the files of each distribution in a fresh environment, and what is imported.

python -m experiments.performance.install --output=experiments/performance/install.json

A distribution weighs what the files that pip notes of it have in bytes, with the bytecode that pip
compiles; pip and setuptools do not count. The extra is installed on top, and only what it adds
counts as its.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import app, flags

from experiments.record import command_line, publish, table
from neid_tf.support.environment import environment

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data/samples/low/coffee.png"
TOOLS = {"pip", "setuptools"}
"""What a fresh environment has."""
FILES = """
import importlib.metadata, json, os
found = {}
for one in importlib.metadata.distributions():
    paths = {os.path.realpath(one.locate_file(file)) for file in one.files or ()}
    size = sum(os.path.getsize(path) for path in paths if os.path.isfile(path))
    requires = [line for line in one.requires or () if "extra ==" not in line]
    found[one.name.lower()] = {"version": one.version, "bytes": size, "requires": requires}
print(json.dumps(found))
"""
IMPORTED = """
import importlib.metadata, json, sys
from neid_tf.commands import main
main.main(["neid", "enhance", sys.argv[1], "--output=" + sys.argv[2], "--weights=neid_s"])
names = {name.partition(".")[0] for name in sys.modules}
found = importlib.metadata.packages_distributions()
print(json.dumps(sorted({one.lower() for name in names for one in found.get(name, ())})))
"""

_WHAT = flags.DEFINE_string("what", "./runtime[onnx]", "What pip installs, in the checkout.")
_EXTRA = flags.DEFINE_string("extra", "evaluate", "The extra that is weighed on top.")
flags.FLAGS.register_key_flag_for_module(__name__, flags.FLAGS["output"])


def weighed(*python: str | Path) -> dict[str, dict[str, Any]]:
    """Return version, bytes and requirements of each distribution of an environment.

    Args:
        python: the environment's, and its options.
    """
    found = json.loads(_output(*python, "-c", FILES))
    return {name: about for name, about in sorted(found.items()) if name not in TOOLS}


def _output(*command, cwd=None):
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd)
    return done.stdout.splitlines()[-1] if done.stdout else ""


def measured(folder: Path) -> dict[str, Any]:
    """Install, and return what there is then.

    Args:
        folder: an empty one, for the environment and a copy of the checkout.
    """
    _output(sys.executable, "-m", "venv", folder / "environment")
    python, what = (folder / "environment" / "bin" / "python", "-I"), _WHAT.value
    # What a build leaves behind stays out of this folder.
    shutil.copytree(ROOT, folder / "checkout", ignore=_left_out)
    _output(*python, "-m", "pip", "install", "-q", what, cwd=folder / "checkout")
    alone = weighed(*python)
    imported = json.loads(_output(*python, "-c", IMPORTED, SAMPLE, folder / "bright.png"))
    added = f"{what[:-1]},{_EXTRA.value}]"
    _output(*python, "-m", "pip", "install", "-q", added, cwd=folder / "checkout")
    more = {name: about for name, about in weighed(*python).items() if name not in alone}
    return {"installed": alone, "imported": imported, "extra": {_EXTRA.value: more}}


def _left_out(folder, names):
    """Return what of a folder of the checkout no install needs."""
    built = {name for name in names if name in ("__pycache__", "build")}
    rest = {"data", "experiments", "runs", "tests", *(n for n in names if n.startswith("."))}
    return built | (rest & {*names} if Path(folder) == ROOT else set())


def megabytes(distributions: dict[str, dict[str, Any]]) -> float:
    """Return what distributions weigh together, in 10⁶ bytes."""
    return sum(about["bytes"] for about in distributions.values()) / 1e6


def weights_table(report: dict[str, Any]) -> str:
    """Return the table of what each distribution weighs, and what it is there for.

    Args:
        report: what the program wrote.
    """
    alone, more = report["installed"], report["extra"]["evaluate"]
    heads = ("distribution", "MB", "required by", "imported by `neid enhance`")
    without = [_row(name, alone, report["imported"]) for name in _heaviest(alone)]
    added = [_row(name, alone | more, report["imported"]) for name in _heaviest(more)]
    sums = [f"**{megabytes(which):.1f}**" for which in (alone, alone | more)]
    return table(
        heads,
        *without,
        ("**together**", sums[0], "", ""),
        *added,
        ("**with the extra `evaluate`**", sums[1], "", ""),
    )


def _heaviest(distributions):
    return sorted(distributions, key=lambda name: -distributions[name]["bytes"])


def _row(name, distributions, imported):
    needed = [other for other, about in distributions.items() if name in _required(about)]
    size = f"{distributions[name]['bytes'] / 1e6:.1f}"
    return name, size, ", ".join(needed) or "asked for", "yes" if name in imported else "no"


def _required(about):
    return {re.match(r"[\w-]+", line)[0].lower() for line in about["requires"]}


def main(_: list[str]) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        report = measured(Path(folder))
    report |= {"megabytes": megabytes(report["installed"]), "environment": environment()}
    publish(report | {"command": command_line(__name__, "experiments.performance.install")})


if __name__ == "__main__":
    app.run(main)
