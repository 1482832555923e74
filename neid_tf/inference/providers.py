"""What ONNX Runtime computes on: an NVIDIA card where one is offered, else the CPU."""

from __future__ import annotations

import contextlib
import io
import os
import re
import typing
from pathlib import Path

from neid_tf.support.errors import NeidError

if typing.TYPE_CHECKING:
    import onnxruntime

CPU = "CPUExecutionProvider"
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
_TITLES = {CUDA: "CUDA", TENSORRT: "TensorRT"}


def offered() -> list[str]:
    """Return the providers of this ONNX Runtime that use an NVIDIA card; none without it."""
    try:
        import onnxruntime
    except ImportError:
        return []
    return [name for name in onnxruntime.get_available_providers() if name in _TITLES]


def start(
    content: bytes, options: onnxruntime.SessionOptions, tensorrt: bool = False
) -> tuple[onnxruntime.InferenceSession, tuple[str, ...]]:
    """Start a session on the card where ONNX Runtime offers that, and else on the CPU.

    Args:
        content: the bytes of an ONNX file.
        options: of the session.
        tensorrt: whether TensorRT computes, which builds engines for minutes first and keeps them.

    Returns:
        The session, and a line on each provider that was offered and did not start.

    Raises:
        NeidError: for TensorRT where it is not offered.
        Exception: what ONNX Runtime raises for a file that it can't run.
    """
    import onnxruntime

    wanted = [name for name in offered() if tensorrt or name != TENSORRT]
    if tensorrt and TENSORRT not in wanted:
        raise NeidError("this ONNX Runtime has no TensorRT: it comes with onnxruntime-gpu")
    if wanted:
        _load_libraries(onnxruntime)
    failed, session = {}, None
    for first in range(len(wanted) + 1):
        providers = [(name, _options(name)) for name in wanted[first:]]
        try:
            # Its own fallback prints on stdout.
            session = onnxruntime.InferenceSession(
                content, options, providers=[*providers, CPU], enable_fallback=0
            )
            break
        except Exception as error:
            if not providers:
                raise
            failed[wanted[first]] = _reason(error)
    started = session.get_providers()
    lacking = [name for name in wanted[first:] if name not in started]
    failed |= dict.fromkeys(lacking, "its libraries are missing, or others than it needs")
    computing = _TITLES.get(started[0], "the CPU")
    return session, tuple(
        f"ONNX Runtime's {_TITLES[name]} does not start, {computing} computes: {reason}"
        for name, reason in failed.items()
    )


def _reason(error):
    """Return what CUDA says, without the places in ONNX Runtime's source around it."""
    line = str(error).strip().partition("\n")[0]
    found = re.search(r"(?:CUDA|CUDNN|CUBLAS) failure \d+: [^;]+", line)
    return found[0].strip() if found else line


def _load_libraries(onnxruntime):
    """Load the card's libraries that pip installed, which the system does not find by itself."""
    # It prints what it misses. Versions from before 1.21 don't have it.
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()


def on_card(session: onnxruntime.InferenceSession) -> bool:
    """Tell whether a session computes on an NVIDIA card."""
    return any(name in _TITLES for name in session.get_providers())


def _options(name):
    if name == TENSORRT:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(cache) / "neid_tf" / "tensorrt"
        return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
    # How a convolution is computed is planned anew whenever its input has another size than the one
    # before, so by the quicker of cuDNN's two rankings; and sums are to be those of float32, not of
    # TF32 with its 10 bits.
    return {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
