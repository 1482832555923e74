"""Writing a model for other runtimes: TensorFlow Serving, ONNX Runtime, LiteRT.

Every export is loaded back by its own runtime and compared with the Keras model before it is
put in its place: what is there is whole, and right.
"""

from neid_tf.export.check import LEAST_PSNR, TOLERANCE, Comparison
from neid_tf.export.litert import to_litert
from neid_tf.export.onnx import to_onnx
from neid_tf.export.saved_model import to_saved_model

__all__ = ["LEAST_PSNR", "TOLERANCE", "Comparison", "to_litert", "to_onnx", "to_saved_model"]
