"""What the two distributions say of themselves: neid_tf, and neid_tf_runtime without TensorFlow."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCORING = ("opencv-python-headless", "scikit-image", "scipy")
"""What only scores, figures and classical methods take of requirements.txt."""
PAPER = "https://arxiv.org/abs/2101.08039"


def requirements(without=()):
    """Return the lines of requirements.txt but for these packages."""
    lines = (HERE / "requirements.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", *without))]


# How the restarts of workers are limited changes with Ray 2.64.
EXTRAS = {
    "cuda": ["onnxruntime-gpu[cuda,cudnn]>=1.21"],
    "demo": ["gradio>=6"],
    "evaluate": [line for line in requirements() if line.startswith(SCORING)],
    "geo": ["rasterio>=1.4"],
    "heif": ["pillow-heif>=1.0"],
    "jxl": ["pillow-jxl-plugin>=1.3"],
    "litert": ["ai-edge-litert>=2.3"],
    "onnx": ["onnxruntime>=1.20"],
    "plot": ["matplotlib>=3.9"],
    "raw": ["rawpy>=0.24"],
    "ray": ["ray[data,serve]>=2.49,<2.64"],
    "serve": [
        "fastapi>=0.115",
        "prometheus-client>=0.20",
        "python-multipart>=0.0.18",
        "uvicorn>=0.30",
    ],
    "video": ["av>=17.1"],
    "watch": ["watchfiles>=0.24"],
}
"""The extras of both distributions."""


def metadata():
    """Return the keywords of ``setup`` that both distributions share."""
    return {
        "version": version(),
        "author": "The neid_tf authors",
        "url": PAPER,
        "project_urls": {"Paper": PAPER},
        "long_description": (HERE / "README.md").read_text("utf-8"),
        "long_description_content_type": "text/markdown",
        "license": "Apache-2.0",
        "license_files": ["LICENSE"],
        "keywords": ["low-light", "image enhancement", "super-resolution", "NEID", "Keras"],
        "classifiers": [
            "Development Status :: 4 - Beta",
            "Environment :: Console",
            "Intended Audience :: End Users/Desktop",
            "Intended Audience :: Science/Research",
            "Operating System :: OS Independent",
            "Programming Language :: Python :: 3",
            *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
            "Topic :: Multimedia :: Graphics :: Graphics Conversion",
            "Topic :: Scientific/Engineering :: Image Processing",
        ],
        "package_data": {
            "neid_tf.models": ["weights/*", "weights/rivals/*", "*.npz"],
            "neid_tf.data": ["*.txt"],
            "neid_tf.evaluation": ["*.txt"],
        },
        "python_requires": ">=3.10,<3.14",
        "entry_points": {"console_scripts": ["neid = neid_tf.commands.start:script"]},
    }


def version():
    """Return the version that the package states."""
    source = (HERE / "neid_tf/support/version.py").read_text("utf-8")
    return re.search(r'__version__ = "(.+)"', source)[1]
