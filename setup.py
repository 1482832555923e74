"""Package metadata of neid_tf."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
common = runpy.run_path(str(HERE / "setup_common.py"))

setup(
    name="neid_tf",
    description="NEID: low-light pictures made bright and detailed, in TensorFlow/Keras",
    packages=find_packages(include=["neid_tf", "neid_tf.*"]),
    install_requires=common["requirements"](),
    extras_require=common["EXTRAS"]
    | {
        "test": [
            "av>=17.1",
            "build>=1.2",
            "jax>=0.7",
            "matplotlib>=3.9",
            "pillow-heif>=1.0",
            "pillow-jxl-plugin>=1.3",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "rasterio>=1.4",
            "rawpy>=0.24",
            "ruff>=0.8",
            *common["EXTRAS"]["serve"],
            *common["EXTRAS"]["watch"],
        ],
        "export": [
            "onnx>=1.17",
            "onnxruntime>=1.20",
            "tf2onnx>=1.17",
            "ai-edge-litert>=2.3",
            "ai-edge-quantizer>=0.10",
        ],
    },
    **common["metadata"](),
)
