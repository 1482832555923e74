"""Speed, as ratios within one process: what is compared is timed in turns."""

import statistics
import time

import numpy as np


def interleaved(functions, runs=7, warmup=2):
    """Time functions in turns, so that a drift of the machine's speed meets all of them.

    Args:
        functions: dictionary from a name to a function without arguments.
        runs: counted calls of each.
        warmup: calls of each before, not counted.

    Returns:
        Dictionary from the name to the list of its seconds.
    """
    for _ in range(warmup):
        for function in functions.values():
            function()
    seconds = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def spread(values):
    """Return minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratios(numerator, denominator):
    """Return the spread of the ratios of two lists, taken turn by turn."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def compiled(model):
    """Return a model as one compiled function of its input."""
    import tensorflow as tf

    return tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)


def _call(function, batch):
    return lambda: function(batch).numpy()


def against_unet(filters, depth, height, width, runs):
    """Compare ``neid`` with ``unet`` of the same width for the same output size.

    ``neid`` is given the half-size picture, as section 2.2 has it. The paper claims less
    computation and memory.

    Returns:
        Dictionary with ``seconds``, ``parameters``, ``operations`` and ``peak_bytes`` of both, and
        ``ratio`` of the times.
    """
    from neid_tf import models
    from neid_tf.profiling import count_operations, peak_bytes

    sizes = {"neid": (height // 2, width // 2), "unet": (height, width)}
    nets, calls, report = {}, {}, {}
    for name, size in sizes.items():
        net = models.build(name, filters=filters, depth=depth, initializer="he_normal")
        nets[name] = models.inference_model(net)
        batch = np.random.default_rng(0).random((1, *size, 3), np.float32)
        calls[name] = _call(compiled(nets[name]), batch)
    seconds = interleaved(calls, runs)
    for name, size in sizes.items():
        report[name] = {
            "input": [*size, 3],
            "seconds": spread(seconds[name]),
            "parameters": nets[name].count_params(),
            "operations": count_operations(nets[name], *size),
            "peak_bytes": peak_bytes(name, filters, depth, *size),
        }
    measures = {"time": ratios(seconds["neid"], seconds["unet"])}
    for key in ("parameters", "operations", "peak_bytes"):
        a, b = (report[name][key] for name in ("neid", "unet"))
        measures[key] = a / b if a and b else None
    return report | {"ratio": measures, "filters": filters, "depth": depth}


def pipeline_against_step(settings, model, fields, runs, steps=4):
    """Compare the input pipeline alone with the training step alone, in images a second.

    The pairs are generated, of LoL's size; the step computes on one batch again and again.

    Args:
        settings: :class:`neid_tf.training.TrainConfig`.
        model: name of the model.
        fields: fields that differ from the variant's.
        runs: counted turns.
        steps: batches in a turn.
    """
    from neid_tf import data, models, training

    network = models.rebuild(models.build(model, **fields), "training")
    trainer = training.Trainer(network, settings.objective(), settings.exposure)
    trainer.compile(optimizer=settings.optimizer(1000), jit_compile=settings.jit_compile)
    sampling = data.Sampling(settings.crop, settings.batch_size, thumbnail=network.config.tone)
    # Many more batches than are read ahead while the step computes.
    dataset = data.training_dataset(_generated_pairs(), sampling, 0, 16 * steps)
    batch = next(iter(dataset))

    def step():
        for _ in range(steps):
            trainer.train_on_batch(batch)

    def load():
        for _ in dataset:
            pass

    seconds = interleaved({"pipeline": load, "step": step}, runs, warmup=1)
    images = {"pipeline": 16 * steps * settings.batch_size, "step": steps * settings.batch_size}
    rates = {name: [images[name] / s for s in values] for name, values in seconds.items()}
    return {
        "images_per_second": {name: spread(values) for name, values in rates.items()},
        "ratio": ratios(rates["pipeline"], rates["step"]),
    }


def _generated_pairs(count=16):
    from neid_tf.pairs import Pairs

    rng = np.random.default_rng(0)
    high = tuple(rng.integers(0, 256, (400, 600, 3), np.uint8) for _ in range(count))
    return Pairs(tuple(map(str, range(count))), tuple(h // 8 for h in high), high)


def against_matrix_product(model, height, width, runs, side=3000):
    """Compare a model's arithmetic with a large float32 matrix product's.

    Args:
        model: an inference model.
        height: of the picture it is given, in pixels.
        width: likewise.
        runs: counted turns.
        side: of the square matrices.

    Returns:
        Dictionary with both in 10⁹ operations a second, and the ``ratio``.
    """
    import tensorflow as tf

    from neid_tf.profiling import count_operations

    batch = np.random.default_rng(0).random((1, height, width, 3), np.float32)
    matrix = tf.random.uniform((side, side))
    function = compiled(model)
    calls = {
        "model": lambda: function(batch).numpy(),
        "matmul": lambda: tf.matmul(matrix, matrix).numpy(),
    }
    seconds = interleaved(calls, runs)
    work = {"model": count_operations(model, height, width), "matmul": 2 * side**3}
    rates = {name: [work[name] / s / 1e9 for s in seconds[name]] for name in calls}
    return {
        "gigaflops_per_second": {name: spread(values) for name, values in rates.items()},
        "ratio": ratios(rates["model"], rates["matmul"]),
        "seconds_per_megapixel": spread([s / (4e-6 * height * width) for s in seconds["model"]]),
    }
