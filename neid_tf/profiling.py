"""Counting what a model costs."""


def count_operations(model, height, width):
    """Count the floating-point operations of a forward pass of one picture.

    Multiplications and additions count as one each; what costs less than a convolution
    (activations, pooling, copies) counts as TensorFlow's profiler counts it.

    Args:
        model: a Keras model with one input, N×h×w×3.
        height: of the picture the model is given, in pixels.
        width: likewise.

    Returns:
        The number of operations.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2 as freeze,
    )

    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, height, width, 3)))
    graph = freeze(concrete).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops
