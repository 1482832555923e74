"""Time forward passes of networks on the card that is here, beside a matrix product.

    KERAS_BACKEND=jax python -m experiments.performance.on_card \
        --output=experiments/performance/on_card.json

On Keras with JAX or TensorFlow, compiled by XLA for each size and number of pictures. These lie in
the card's memory, and a pass ends when it is computed. What fails, or comes too late for
--card_seconds, is named in the record.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from absl import app, flags

from experiments.record import command_line, publish, save, table
from neid_tf.benchmarks import cards
from neid_tf.benchmarks.costs import count_operations_of_onnx
from neid_tf.benchmarks.timing import interleaved, scene, spread
from neid_tf.inference.runtimes import INPUT, PICTURE
from neid_tf.models import pretrained
from neid_tf.pixels.resample import halve
from neid_tf.pixels.samples import to_float
from neid_tf.support import keras_start

PRECISIONS = ("bfloat16", "tf32", "float32")
"""What convolutions compute in; tf32 is what both backends take for float32 on a newer card."""
_COUNTED = ((128, 192), (256, 384))  # Pictures whose work tells that of any other.

_NETWORKS = flags.DEFINE_list("card_networks", ["neid", "neid_s"], "Names of packaged weights.")
_PASSES = flags.DEFINE_list(
    "card_passes",
    ["600x400:1", "600x400:8", "600x400:32", "600x400:64", "4000x3000:1"],
    "Width and height of the pictures, even, and how many of them.",
)
_PRECISIONS = flags.DEFINE_list(
    "card_precisions", ["bfloat16", "tf32"], f"Of {', '.join(PRECISIONS)}."
)
_TURNS = flags.DEFINE_integer("card_turns", 20, "Counted passes of each.", lower_bound=1)
_SIDE = flags.DEFINE_integer("card_side", 8192, "Of the square matrices.", lower_bound=1)
_SECONDS = flags.DEFINE_float("card_seconds", 600.0, "No more networks are begun after so long.")
_COMPILING = flags.DEFINE_integer("card_compiling", 4, "Sizes compiled at a time.", lower_bound=1)
flags.FLAGS.register_key_flag_for_module(__name__, flags.FLAGS["output"])


@dataclasses.dataclass(frozen=True)
class Pass:
    """A forward pass of so many pictures of a size, in pixels."""

    width: int
    height: int
    pictures: int

    @classmethod
    def read(cls, text: str) -> "Pass":
        """Return what ``WIDTHxHEIGHT:PICTURES`` says."""
        size, _, pictures = text.partition(":")
        width, _, height = size.partition("x")
        return cls(int(width), int(height), int(pictures))

    def given(self) -> dict[str, np.ndarray]:
        """Return dark pictures and their halves, as the network is given them."""
        picture = to_float(scene(self.height, self.width))
        both = {INPUT: halve(picture), PICTURE: picture}
        return {name: np.repeat(one[None], self.pictures, axis=0) for name, one in both.items()}


def compiled(function: Callable, variables: list, given: Any) -> Callable[[], Callable]:
    """Return what compiles a function for the card, and returns the pass: a call that waits for it.

    Args:
        function: of variables and what is given, arrays in any nest.
        variables: what lies on the card already.
        given: what is brought there.
    """
    import keras

    if keras.backend.backend() == "jax":
        import jax

        given = jax.device_put(given)
        lowered = jax.jit(function).lower(variables, given)

        def compile_():
            step = lowered.compile()
            return lambda: jax.block_until_ready(step(variables, given))

        return compile_
    import tensorflow as tf

    step = tf.function(lambda *given: function(variables, *given), jit_compile=True)
    given = tf.nest.map_structure(tf.constant, given)

    def run():
        output = step(given)
        tf.test.experimental.sync_devices()
        return output

    return lambda: run


def forward(model: Any) -> tuple[Callable, list]:
    """Return the function of a model's variables and what it is given, and the variables."""
    groups = [model.trainable_variables, model.non_trainable_variables]
    variables = [[variable.value for variable in group] for group in groups]
    return lambda own, given: model.stateless_call(*own, given, training=False)[0], variables


@contextlib.contextmanager
def computing(precision: str) -> Iterator[None]:
    """Compute in one of :data:`PRECISIONS` meanwhile."""
    import keras

    from neid_tf.models.precision import computing_in

    with contextlib.ExitStack() as stack:
        stack.enter_context(computing_in("bfloat16" if precision == "bfloat16" else "float32"))
        if keras.backend.backend() == "jax":
            import jax

            exact = "highest" if precision == "float32" else None
            stack.enter_context(jax.default_matmul_precision(exact))
        else:
            import tensorflow as tf

            tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")
        yield


def operations(name: str) -> Callable[[int, int], float]:
    """Return the function from height and width of a picture to its operations.

    The pixels of two small pictures tell it: each takes as many, and the thumbnail the same always.

    Args:
        name: of packaged weights.
    """
    content = pretrained.onnx_file(name).read_bytes()
    sizes = [Pass(width, height, 1) for height, width in _COUNTED]
    work = [count_operations_of_onnx(content, size.given()) for size in sizes]
    pixels = [size.height * size.width for size in sizes]
    each = (work[1] - work[0]) / (pixels[1] - pixels[0])
    return lambda height, width: work[0] + each * (height * width - pixels[0])


def product(precision: str, side: int, turns: int) -> dict[str, float]:
    """Return the spread of the 10¹² operations a second of a square matrix product."""
    import keras

    kind = "bfloat16" if precision == "bfloat16" else "float32"
    with computing(precision):
        matrix = keras.ops.cast(keras.random.normal((side, side), seed=1), kind)
        call = compiled(lambda own, _: keras.ops.matmul(own[0], own[0]), [matrix], np.zeros(1))()
        [seconds] = interleaved({"product": call}, turns).values()
    return spread([2 * side**3 / 1e12 / one for one in seconds])


def copy(side: int, turns: int) -> dict[str, float]:
    """Return the spread of the 10¹² bytes a second that adding to a large array moves."""
    import keras

    array = keras.ops.zeros((4, side, side), "float32")
    call = compiled(lambda own, _: own[0] + 1.0, [array], np.zeros(1))()
    [seconds] = interleaved({"copy": call}, turns).values()
    return spread([2 * 16 * side**2 / 1e12 / one for one in seconds])


def passes(
    name: str, precision: str, sizes: Iterable[Pass], turns: int, compiling: int
) -> Iterator[tuple[Pass, list[float] | str, np.ndarray | None]]:
    """Time the passes of a network in a precision.

    Args:
        name: of packaged weights.
        precision: one of :data:`PRECISIONS`.
        sizes: of the pictures, and how many.
        turns: counted passes of each.
        compiling: how many are compiled at a time.

    Yields:
        A pass, its seconds or the reason why it failed, and what it made of the first picture.
    """
    from neid_tf import models

    with computing(precision), concurrent.futures.ThreadPoolExecutor(compiling) as pool:
        model = models.as_part(pretrained.load_pretrained(name), "refined")
        function, variables = forward(model)
        asked = [(s, _begun(pool, function, variables, s)) for s in sizes]
        concurrent.futures.wait([future for _, future in asked])
        for size, future in asked:
            try:
                call = future.result()
                [seconds] = interleaved({"pass": call}, turns).values()
                yield size, seconds, np.asarray(call()[:1], np.float32)
            except Exception as error:  # Each library has errors of its own, for memory too.
                reason = str(error).strip().partition("\n")[0][:300]
                yield size, f"{type(error).__name__}: {reason}", None


def _begun(pool, function, variables, size):
    """Return the future of a compiled pass; one that failed where it could not be traced."""
    try:
        return pool.submit(compiled(function, variables, size.given()))
    except Exception as error:
        failed = concurrent.futures.Future()
        failed.set_exception(error)
        return failed


def measure(names: list[str], precisions: list[str], sizes: list[Pass]) -> Iterator[dict[str, Any]]:
    """Yield the report as it grows by a network in a precision; settings are those of the flags."""
    ends, turns = time.monotonic() + _SECONDS.value, _TURNS.value
    report: dict[str, Any] = {"card": cards.name()}
    card, first = cards.known(report["card"]), {}
    report["product_teraflops"] = {one: product(one, _SIDE.value, turns) for one in precisions}
    report |= {"terabytes": copy(_SIDE.value, turns), "passes": [], "left_out": []}
    work = {name: operations(name) for name in names}
    for network, precision in itertools.product(names, precisions):
        of = {"network": network, "precision": precision}
        if time.monotonic() > ends:
            report["left_out"].append(of | {"reason": f"after {_SECONDS.value:g} seconds"})
            continue
        for size, seconds, output in passes(network, precision, sizes, turns, _COMPILING.value):
            row = of | dataclasses.asdict(size)
            if output is None:
                report["left_out"].append(row | {"reason": seconds})
                continue
            most = report["product_teraflops"][precision]["median"]
            one = work[network](size.height, size.width)
            row |= _rates(precision, seconds, size, one, card, most)
            compared = first.setdefault((network, size), output)
            row |= {"difference": float(255 * np.abs(_clipped(output) - _clipped(compared)).max())}
            report["passes"].append(row)
        yield report


def _clipped(output):
    return np.clip(output, 0.0, 1.0)


def _rates(precision, seconds, size, work, card, product_teraflops):
    median = spread(seconds)["median"]
    rate = size.pictures * work / median
    shares = {} if card is None else {"share_of_the_peak": rate / card.peak(precision)}
    return {
        "seconds": spread(seconds),
        "operations": work,
        "pictures_a_second": size.pictures / median,
        "teraflops": rate / 1e12,
        "share_of_the_product": rate / 1e12 / product_teraflops,
        **shares,
    }


def rows(report: dict[str, Any], predicted: dict[str, Any]) -> str:
    """Return the table of what was measured on a card.

    Args:
        report: what the program wrote.
        predicted: what :mod:`experiments.performance.roofline` wrote.
    """
    heads = ("", "pictures", "at a time", "computed in", "ms", "pictures a second", "predicted")
    lines = [(*heads, "10¹² operations a second", "share of the peak", "of a product", "of 255")]
    for row in report["passes"]:
        size = f"{row['width']}×{row['height']}"
        bounds = predicted["pictures"].get(size) if _is_predicted(row, predicted) else None
        peak = row.get("share_of_the_peak")
        lines.append(
            (
                f"`{row['network']}`",
                size,
                row["pictures"],
                row["precision"],
                f"{1e3 * row['seconds']['median']:,.2f}",
                f"{row['pictures_a_second']:,.0f}",
                f"{bounds['pictures_a_second_apart']:,.0f} to "
                f"{bounds['pictures_a_second_at_most']:,.0f}"
                if bounds
                else "",
                f"{row['teraflops']:.1f}",
                "" if peak is None else f"{peak:.3f}",
                f"{row['share_of_the_product']:.3f}",
                f"{row['difference']:.2f}",
            )
        )
    products = (
        f"{precision} {rate['median']:,.0f}"
        for precision, rate in report["product_teraflops"].items()
    )
    sentence = f"{report['card']}: a product of large matrices, 10¹² operations a second: "
    sentence += f"{', '.join(products)}; memory, 10¹² bytes a second: "
    left = [f"\n\nLeft out: {' '.join(str(v) for v in one.values())}" for one in report["left_out"]]
    return f"{table(*lines)}\n\n{sentence}{report['terabytes']['median']:.2f}.{''.join(left)}"


def _is_predicted(row, predicted):
    return (row["network"], row["precision"]) == (predicted["weights"], "bfloat16")


def main(_: list[str]) -> None:
    """Measure, print, write."""
    keras_start.import_keras()
    from neid_tf.support.environment import environment

    report = {"environment": environment()}
    command = {"command": command_line(__name__, "experiments.performance.on_card")}
    sizes = [Pass.read(text) for text in _PASSES.value]
    for grown in measure(_NETWORKS.value, _PRECISIONS.value, sizes):
        report |= grown | command
        save(report)  # What is there stays where the rest is cut off.
    publish(report)


if __name__ == "__main__":
    app.run(main)
