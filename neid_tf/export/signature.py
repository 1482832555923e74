"""The functions of an export: what TensorFlow Serving and LiteRT compute, and of what."""

import functools
from collections.abc import Callable

import tensorflow as tf

from neid_tf import models
from neid_tf.data import augment
from neid_tf.inference import runtimes
from neid_tf.pixels.samples import LUMA


def variables_holder(model: models.NEID) -> tf.Module:
    """Return an object that owns the model's variables, and nothing of Keras."""
    holder = tf.Module()
    whole = models.as_part(model, "refined") if model.config.refinement else model
    holder.weights = [variable.value for variable in whole.weights]
    return holder


def float_function(
    model: models.NEID, shape: tuple[int | None, int | None, int | None] = (None, None, None)
) -> Callable:
    """Return the function of ``serving_default``.

    Args:
        model: part ``inference``.
        shape: number, height and width of the pictures of a batch; None for any.

    Returns:
        A ``tf.function`` from ``image``, float32 in [0, 1], to ``enhanced``, clipped to [0, 1].
    """
    spec = tf.TensorSpec((*shape, 3), tf.float32, name=runtimes.INPUT)

    @tf.function(input_signature=[spec])
    def serving_default(image):
        return {runtimes.OUTPUT: tf.clip_by_value(model(image, training=False), 0.0, 1.0)}

    return serving_default


def part_function(
    model: models.NEID,
    part: str,
    name: str,
    shape: tuple[int | None, int | None, int | None] = (None, None, None),
) -> Callable:
    """Return the function of a signature with further inputs.

    Args:
        model: part ``inference``, that has the part.
        part: one that makes a picture of a dictionary: see :class:`neid_tf.models.NEID`.
        name: of the function, which LiteRT takes for the signature.
        shape: as for :func:`float_function`.

    Returns:
        A ``tf.function`` from the part's inputs, float32, to ``enhanced``, clipped to [0, 1].
    """
    network, (inputs, _) = models.as_part(model, part), model.graph.cut(part)
    number, *sides = shape
    sizes = {name: (number, *tensor.shape[1:]) for name, tensor in inputs.items()}
    sizes[runtimes.INPUT] = (*shape, 3)
    if runtimes.PICTURE in sizes:
        sizes[runtimes.PICTURE] = (number, *(side and 2 * side for side in sides), 3)

    def function(*values):
        enhanced = network(dict(zip(sizes, values, strict=True)), training=False)
        return {runtimes.OUTPUT: tf.clip_by_value(enhanced, 0.0, 1.0)}

    function.__name__ = name
    specs = [tf.TensorSpec(size, tf.float32, name=key) for key, size in sizes.items()]
    return tf.function(function, input_signature=specs)


def _context_function(model):
    """Return the ``tf.function`` that reads the context off pictures."""
    network = models.as_part(model, "context")
    spec = tf.TensorSpec((None, None, None, 3), tf.float32, name=runtimes.INPUT)

    @tf.function(input_signature=[spec])
    def context(image):
        return network(image, training=False)

    return context


def signatures(model: models.NEID) -> dict[str, Callable]:
    """Return the functions of a SavedModel by their names."""
    plain, config = float_function(model), model.config
    names = [runtimes.TILE] if model.graph.context else []
    names += [runtimes.REFINED, runtimes.REFINED_TILE] if config.refinement else []
    further = {name: part_function(model, name, name) for name in names}
    further |= {runtimes.CONTEXT: _context_function(model)} if model.graph.context else {}
    pictures = tf.TensorSpec((None, None, None, 3), tf.uint8, name=runtimes.INPUT)
    files = tf.TensorSpec((None,), tf.string, name="image_bytes")

    @tf.function(input_signature=[pictures])
    def uint8(image):
        pixels = tf.cast(image, tf.float32) / 255.0
        return {runtimes.OUTPUT: _enhance_uint8(plain, pixels)}

    @tf.function(input_signature=[files])
    def encoded(image_bytes):
        function = further.get(runtimes.REFINED, plain)
        one = functools.partial(_enhance_file, function, config, bool(model.graph.context))
        return {"enhanced_bytes": tf.map_fn(one, image_bytes, fn_output_signature=tf.string)}

    return {"serving_default": plain, "uint8": uint8, "encoded": encoded} | further


def _enhance_uint8(function, *pictures):
    """Return what a function makes of its pictures, float32 N×h×w×3, as uint8."""
    return tf.cast(tf.round(function(*pictures)[runtimes.OUTPUT] * 255.0), tf.uint8)


def _enhance_file(function, config, keeps_gray, content):
    """Return the PNG file made of a picture file, of the same size."""
    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image = tf.ensure_shape(image, (None, None, 3))
    height, width = tf.unstack(tf.shape(image)[:2])
    # Mirroring one row repeats it: this is pad_to_even.
    even = tf.pad(image, [(0, height % 2), (0, width % 2), (0, 0)], "SYMMETRIC")
    batch = tf.cast(even if config.scale == 2 else image, tf.float32)[None] / 255.0
    pictures = [augment.halve(batch) if config.scale == 2 else batch]
    pictures += [batch] if config.refinement else []
    made = _enhance_uint8(function, *pictures)[0, :height, :width]
    if not keeps_gray:
        return tf.io.encode_png(made)
    luminance = tf.tensordot(tf.cast(made, tf.float32), tf.constant(LUMA), 1)[..., None]
    luminance = tf.cast(tf.round(luminance), tf.uint8)
    is_gray = tf.reduce_all(tf.equal(image, image[..., :1]))
    return tf.io.encode_png(tf.where(is_gray, luminance, made))
