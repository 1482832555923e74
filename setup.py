"""Package metadata of neid_tf."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "neid_tf/support/version.py").read_text("utf-8")
)[1]
REQUIREMENTS = [
    line
    for line in (HERE / "requirements.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
# How the restarts of workers are limited changes with Ray 2.64.
RAY = "ray[data]>=2.49,<2.64"

setup(
    name="neid_tf",
    version=VERSION,
    description="NEID: low-light pictures made bright and detailed, in TensorFlow/Keras",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["neid_tf", "neid_tf.*"]),
    package_data={
        "neid_tf.models": ["weights/*", "*.npz"],
        "neid_tf.data": ["*_validation.txt"],
        "neid_tf.evaluation": ["niqe_model.txt"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=REQUIREMENTS,
    extras_require={
        "test": ["pytest>=8", "ruff>=0.8", "av>=17.1", "jax>=0.7"],
        "export": [
            "onnx>=1.17",
            "onnxruntime>=1.20",
            "tf2onnx>=1.17",
            "ai-edge-litert>=2.3",
            "ai-edge-quantizer>=0.10",
        ],
        "onnx": ["onnxruntime>=1.20"],
        "litert": ["ai-edge-litert>=2.3"],
        "demo": ["gradio>=6"],
        "ray": [RAY],
        "video": ["av>=17.1"],
    },
    entry_points={"console_scripts": ["neid = neid_tf.commands.main:script"]},
)
