"""Package metadata of neid_tf for a machine that only enhances: the same package, no TensorFlow.

A distribution of its own, since no extra of the main one can leave out what that requires: pip
installs the requirements of the main distribution with each of its extras.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.search(
    r'__version__ = "(.+)"', (ROOT / "neid_tf/support/version.py").read_text("utf-8")
)[1]
NOT_NEEDED = ("keras", "scikit-image", "tensorboard", "tensorflow")
REQUIREMENTS = [
    line
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    if line and not line.startswith(("#", *NOT_NEEDED))
]

setup(
    name="neid_tf_runtime",
    version=VERSION,
    description="NEID: low-light pictures made bright and detailed, without TensorFlow",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(str(ROOT), include=["neid_tf", "neid_tf.*"]),
    package_dir={"neid_tf": "../neid_tf"},
    package_data={"neid_tf.models": ["weights/*"], "neid_tf.data": ["*_validation.txt"]},
    python_requires=">=3.10,<3.14",
    install_requires=REQUIREMENTS,
    extras_require={
        "onnx": ["onnxruntime>=1.20"],
        "litert": ["ai-edge-litert>=2.3"],
        "video": ["av>=17.1"],
    },
    entry_points={"console_scripts": ["neid = neid_tf.commands.main:script"]},
)
