"""The rules of the house: which module may import which, and where TensorFlow belongs."""

import ast
from pathlib import Path

import pytest

import neid_tf

PACKAGE = Path(neid_tf.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def tree(path):
    return ast.parse(path.read_text("utf-8"))


def imports(path):
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name(path):
    return path.relative_to(PACKAGE).as_posix()


FLOORS = (
    ("support",),
    ("pixels",),
    ("baselines",),
    ("pictures",),
    ("models",),
    ("data", "evaluation"),
    ("inference",),
    ("training", "export", "demo", "video"),
    ("jobs",),
    ("benchmarks", "service"),
    ("commands",),
)
"""The folders of the package; each imports from those before its line, and from itself."""

RECEIVES_A_NETWORK = {"evaluation/", "inference/enhance.py", "data/"}
"""What does not make networks, but is given one, or knows of none."""


def ours(path):
    return {module for module in imports(path) if module and module.startswith("neid_tf.")}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_go_one_way(path):
    room, *inside = path.relative_to(PACKAGE).parts
    if not inside:
        return  # the package's own __init__ gives names of the rooms
    floor = next(index for index, rooms in enumerate(FLOORS) if room in rooms)
    below = {room}.union(*FLOORS[:floor])
    rooms = {module.split(".")[1] for module in ours(path)} - {"__version__"}
    assert rooms <= below


def test_every_folder_has_a_floor():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == {room for rooms in FLOORS for room in rooms}
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_networks_are_given(path):
    if any(name(path).startswith(prefix) for prefix in RECEIVES_A_NETWORK):
        assert not [m for m in ours(path) if m.startswith("neid_tf.models")]
    if name(path) in ("training/losses.py", "training/rival_losses.py", "training/metrics.py"):
        allowed = ("neid_tf.training.losses", "neid_tf.training.metrics")
        assert all(m.startswith(allowed) for m in ours(path) - {"neid_tf.training"})


@pytest.mark.parametrize("path", FILES, ids=name)
def test_flags_are_read_in_commands_only(path):
    if not name(path).startswith("commands/"):
        assert not [module for module in imports(path) if module.startswith("absl")]


SCORING = {"cv2", "imageio", "networkx", "scipy", "skimage"}
"""What the install without TensorFlow lacks, unless it has the extra ``evaluate``."""


@pytest.mark.parametrize("path", FILES, ids=name)
def test_scores_figures_methods_and_training_alone_take_the_scoring_libraries(path):
    rooms = ("baselines/", "evaluation/", "data/batches.py", "export/litert.py")
    if not name(path).startswith(rooms):
        assert not SCORING & {module.partition(".")[0] for module in imports(path) if module}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_models_losses_metrics_and_augment_run_on_any_backend(path):
    if name(path).startswith(
        (
            *("models/", "training/losses.py", "training/metrics.py", "data/augment.py"),
            *("training/rival_losses.py", "training/rival_trainer.py", "training/phases.py"),
        )
    ):
        assert not [module for module in imports(path) if module.startswith("tensorflow")]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_size_of_functions(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            start = first.end_lineno if documented else node.lineno
            assert node.end_lineno - start <= 50, node.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_assert_in_the_library(path):
    assert not [node for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]
