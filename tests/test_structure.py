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


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_go_one_way(path):
    ours = {module for module in imports(path) if module and module.startswith("neid_tf")}
    forbidden = {
        "models/": ("losses", "data", "training", "evaluation", "enhance", "commands", "pairs"),
        "losses.py": ("models", "data", "training", "commands"),
        "metrics.py": ("models", "data", "losses", "training", "commands"),
        "augment.py": ("models", "data", "losses", "training", "commands"),
        "data.py": ("models", "losses", "training", "commands"),
        "training.py": ("commands",),
        "evaluation.py": ("commands", "training", "models", "pretrained"),
        "enhance.py": ("commands", "training", "models", "pretrained"),
        "baselines/": ("models", "data", "training", "commands", "enhance"),
    }
    for prefix, modules in forbidden.items():
        if name(path).startswith(prefix):
            bad = {f"neid_tf.{module}" for module in modules}
            assert not [m for m in ours for b in bad if m == b or m.startswith(b + ".")]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_flags_are_read_in_commands_only(path):
    if not name(path).startswith("commands/"):
        assert not [module for module in imports(path) if module.startswith("absl")]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_models_losses_metrics_and_augment_run_on_any_backend(path):
    if name(path).startswith(("models/", "losses.py", "metrics.py", "augment.py")):
        assert not [module for module in imports(path) if module.startswith("tensorflow")]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_size_of_files_and_functions(path):
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            start = first.end_lineno if documented else node.lineno
            assert node.end_lineno - start <= 50, node.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_assert_in_the_library(path):
    assert not [node for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]
