"""The README and docs/: tables as the records have them, files that exist, examples that run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from neid_tf import models
from neid_tf.commands import main as program
from neid_tf.models import pretrained
from tests.conftest import darkened, picture, write

documents = pytest.importorskip("experiments.documents")
ROOT = Path(__file__).parents[1]
PAGES = documents.pages()
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
LASTING = ("serve", "watch", "live")
"""Commands that end when they are told to; their tests run their examples."""
EXTRAS = {
    "--engine=ray": "ray.data",
    "--format=onnx": "tf2onnx",
    "--format=litert": "ai_edge_litert",
}
LIGHTER = {
    "train": [
        *("--model=neid_tone", "--filters=4", "--depth=2", "--refinement=0", "--init="),
        "--train=all",
        *("--epochs=1", "--crop=32", "--batch_size=2", "--warmup=0", "--validate_every=1"),
    ],
}
"""What makes an example of a page take seconds, behind the flags that it has."""


def name(page):
    return page.relative_to(ROOT).as_posix()


def test_tables_are_what_the_records_say():
    assert [name(page) for page in documents.drifted()] == []


def test_the_memory_of_a_picture_grows_with_its_pixels_alone():
    """What the page says of a pixel, from the smallest and the largest, holds in between."""
    report = documents._record("performance/memory.json")
    sizes = report["megapixels"]
    assert max(sizes) >= 100
    for peaks in report["peak_bytes"].values():
        each, constant = documents.memory_of_a_pixel(sizes, peaks)
        expected = [constant + each * 1e6 * size for size in sizes]
        np.testing.assert_allclose(peaks, expected, rtol=0.1)


def test_a_table_that_drifts_is_found_and_filled(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text("a\n<!-- table: weights -->\n| 99.99 |\n<!-- end -->\nb\n")
    assert list(documents.drifted()) == [tmp_path / "README.md"]
    text = documents.filled((tmp_path / "README.md").read_text())
    assert "99.99" not in text
    assert "| `neid_s` |" in text
    assert (text.startswith("a\n"), text.endswith("b\n")) == (True, True)
    (tmp_path / "README.md").write_text(text)
    assert list(documents.drifted()) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_files_that_a_page_names_exist(page):
    text = page.read_text("utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(
        r"`((?:neid_tf|experiments|data|docs)/[\w./]+\.(?:py|md|json|txt|flags))`", text
    )
    for path in [*(page.parent / link for link in links), *(ROOT / path for path in named)]:
        if (ROOT / "neid_tf").exists() or "neid_tf" not in path.parts:
            assert path.exists(), path


def examples(page):
    """Return the lines of a page's shell examples that run neid."""
    blocks = [code for language, code in FENCE.findall(page.read_text("utf-8")) if language == "sh"]
    lines = [line for block in blocks for line in block.strip().splitlines()]
    return [line for line in lines if line.startswith("neid ")]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_flags_that_a_page_names_are_of_their_command(page):
    """Also in its text, and in examples that are not run."""
    from absl import flags

    text = page.read_text("utf-8").replace("\\\n", " ")
    for command, rest in re.findall(rf"\bneid ({'|'.join(program.COMMANDS)})\b([^`|\n]*)", text):
        known = flags.FLAGS.get_key_flags_for_module(f"neid_tf.commands.{command}")
        known = {"flagfile", "debug", *(flag.name for flag in known)}
        assert set(re.findall(r"--(?:no)?(\w+)", rest.split("neid ")[0])) <= known, (command, rest)


WEIGHTS = {"benchmark": "tiny.npz", "export": "tiny.npz"}
"""Of commands that convert them, which takes long of larger ones."""


def lasts(line):
    return shlex.split(line)[1] in LASTING


@pytest.fixture
def place(tmp_path, monkeypatch, pairs_folder):
    """A folder with what the examples take: photos, pairs, and a recipe."""
    pairs_folder.rename(tmp_path / "pairs")
    for number in range(2):
        write(tmp_path / "photos" / f"{number}.png", darkened(picture(30, 40, number)))
    for suffix in ("jpg", "tif"):
        write(tmp_path / f"dark.{suffix}", darkened(picture(60, 80)))
    tiny = models.build("neid", filters=4, depth=1)
    pretrained.save(models.inference_model(tiny), tmp_path / "tiny.npz", {})
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_examples_of_a_page_run(page, place, neid):
    for line in (line for line in examples(page) if not lasts(line)):
        for flag, library in EXTRAS.items():
            if flag in line:
                pytest.importorskip(library)
        command, *arguments = shlex.split(line)[1:]
        if command not in ("train", "pack") and not re.search("--(weights|method)=", line):
            arguments.append(f"--weights={WEIGHTS.get(command, 'neid_s')}")
        code, _, err = neid(command, *arguments, *LIGHTER.get(command, ()))
        assert code == 0, (line, err)


def test_every_page_but_the_paper_has_an_example():
    assert [page.stem for page in PAGES if not examples(page)] == ["paper"]


def test_the_python_of_the_pages_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    for page in PAGES:
        for language, code in FENCE.findall(page.read_text("utf-8")):
            if language == "python":
                exec(compile(code, name(page), "exec"), {})
