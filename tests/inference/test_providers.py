"""ONNX Runtime with a card and without one: its providers are played, for none is here."""

import types

import numpy as np
import pytest

from neid_tf.commands import terminal
from neid_tf.inference import methods, providers, runtimes
from neid_tf.models import pretrained
from neid_tf.support.errors import NeidError
from tests.conftest import darkened, picture, write

onnxruntime = pytest.importorskip("onnxruntime")
CPU, CUDA, TENSORRT = providers.CPU, providers.CUDA, providers.TENSORRT
CARD = [TENSORRT, CUDA, CPU]
real = onnxruntime.InferenceSession


@pytest.fixture
def machine(monkeypatch):
    """Play an ONNX Runtime: what it offers, what raises when it starts, what does so silently.

    Returns what each session was asked for; all of them compute on the CPU.
    """

    def preload():
        play.loaded += 1
        print("it misses something")
        raise RuntimeError("and fails")

    def play(offered, raising=(), silent=()):
        asked = []

        def session(content, options, providers, enable_fallback):
            names = [item if isinstance(item, str) else item[0] for item in providers]
            asked.append({CPU: {}} | dict(p for p in providers if p != CPU))
            assert not enable_fallback
            if failing := [name for name in names if name in raising]:
                raise RuntimeError(f"no device for {failing[0]}\nand more")
            made = real(content, options, providers=[CPU])
            made.get_providers = lambda: [name for name in names if name not in silent]
            return made

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(offered))
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
        return asked

    play.loaded = 0
    terminal.report_once.cache_clear()
    return play


@pytest.fixture(scope="module")
def content():
    return pretrained.onnx_file("neid_s").read_bytes()


@pytest.mark.parametrize(
    ("offered", "tensorrt", "wanted"),
    [
        ([CPU], False, [CPU]),
        (["AzureExecutionProvider", CPU], False, [CPU]),
        ([CUDA, CPU], False, [CUDA, CPU]),
        (CARD, False, [CUDA, CPU]),
        (CARD, True, CARD),
    ],
)
def test_the_card_computes_where_it_is_offered_and_tensorrt_where_it_is_asked_for(
    offered, tensorrt, wanted, machine, content
):
    asked = machine(offered)
    model = runtimes.Onnx(content, tensorrt=tensorrt)
    assert [set(providers) for providers in asked] == [set(wanted)]
    assert model._session.get_providers() == wanted
    assert bool(machine.loaded) == (wanted != [CPU])
    assert (model.notes, model.on_card) == ((), wanted != [CPU])
    # A card is not given two batches at a time; a CPU has a session for each core.
    assert (model.on_one_core() is model) == model.on_card


def test_a_card_computes_in_float32_and_engines_are_kept(machine, content, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    asked = machine(CARD)
    runtimes.Onnx(content, tensorrt=True)
    assert asked[0][CUDA] == {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    assert asked[0][TENSORRT]["trt_engine_cache_path"] == "/cache/neid_tf/tensorrt"
    assert asked[0][CPU] == {}


@pytest.mark.parametrize(
    ("failing", "tensorrt", "lines"),
    [
        ([CUDA], False, ["CUDA does not start, the CPU computes: "]),
        ([TENSORRT], True, ["TensorRT does not start, CUDA computes: "]),
        (
            [TENSORRT, CUDA],
            True,
            [f"{name} does not start, the CPU computes: " for name in ("TensorRT", "CUDA")],
        ),
    ],
)
@pytest.mark.parametrize("how", ["raising", "silent"])
def test_a_provider_that_does_not_start_is_told_and_the_next_computes(
    how, failing, tensorrt, lines, machine, content
):
    machine(CARD, **{how: failing})
    model = runtimes.Onnx(content, tensorrt=tensorrt)
    reasons = [f"no device for {name}" for name in failing]
    if how == "silent":
        reasons = ["its libraries are missing, or others than it needs"] * len(failing)
    assert list(model.notes) == [
        f"ONNX Runtime's {line}{reason}" for line, reason in zip(lines, reasons, strict=True)
    ]
    assert model.on_card == (CUDA not in failing)
    assert model(np.zeros((1, 16, 24, 3), np.float32)).shape == (1, 32, 48, 3)


def test_a_reason_is_told_without_the_source_around_it():
    place = (
        "/src/cuda_call.cc:154 void onnxruntime::CudaCall(const char*) [with ERRTYPE = cudaError]"
    )
    told = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
    error = RuntimeError(f"{place} {told} ; GPU=-1 ; hostname=vm ; expr=cudaSetDevice(id);\n")
    assert providers._reason(error) == told
    assert providers._reason(RuntimeError("no device\nand more")) == "no device"


def test_tensorrt_that_is_not_there_and_files_that_are_none_are_refused(machine, tmp_path):
    machine([CUDA, CPU])
    path = pretrained.onnx_file("neid_s")
    with pytest.raises(NeidError, match="has no TensorRT: it comes with onnxruntime-gpu"):
        runtimes.load(path, runtimes.TENSORRT)
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(runtimes.ModelFileError, match=r"m\.onnx: cannot be run as onnx"):
        runtimes.load(tmp_path / "m.onnx")


def test_enhance_computes_on_and_tells_it_once(machine, neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        write(tmp_path / "in" / f"{number}.png", darkened(picture(24, 36, number)))
    machine(CARD, raising=[CUDA])
    code, _, err = neid("enhance", "in", "--output=out", "--weights=neid_s", "--runtime=onnx")
    line = f"neid: ONNX Runtime's CUDA does not start, the CPU computes: no device for {CUDA}"
    assert (code, err.splitlines()) == (0, [line])
    asked = machine([CPU])
    arguments = ("enhance", "in/0.png", "--output=again", "--weights=neid_s", "--runtime=onnx")
    assert neid(*arguments) == (0, "1 written to again\n", "")
    assert asked[0] == {CPU: {}}
    made = [(tmp_path / folder / "0.png").read_bytes() for folder in ("out", "again")]
    assert made[0] == made[1]
    arguments = ("enhance", "in/0.png", "--output=rt", "--weights=neid_s", "--runtime=tensorrt")
    code, _, err = neid(*arguments)
    assert (code, "has no TensorRT" in err) == (1, True)


def test_keras_on_another_backend_stands_for_tensorflow(machine, monkeypatch):
    machine([CPU])
    found = types.SimpleNamespace()
    monkeypatch.setattr("importlib.util.find_spec", lambda n: found if n == "jax" else None)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert methods.choose_runtime("neid") == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert methods.choose_runtime("neid") == "onnx"  # which names what is to be installed


def test_with_a_card_the_runtime_that_knows_it_comes_first(machine, monkeypatch):
    both = {"onnxruntime", "tensorflow"}
    found = types.SimpleNamespace()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found if name in both else None)
    for has_card, offered, runtime in (
        (True, CARD, "onnx"),
        (True, [CPU], "tensorflow"),
        (False, [CPU], "onnx"),
    ):
        machine(offered)
        monkeypatch.setattr("shutil.which", lambda _, here=has_card: "/bin/x" if here else None)
        assert methods.choose_runtime("neid") == runtime
