"""Package metadata of neid_tf for a machine that does not train: the same package, no TensorFlow.

A distribution of its own, since no extra of the main one can leave out what that requires: pip
installs the requirements of the main distribution with each of its extras. The package lies in
the folder above this one; in the source distribution, beside this file.
"""

import os
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
ROOT = HERE if (HERE / "neid_tf").is_dir() else HERE.parent
TENSORFLOW = ("keras", "tensorboard", "tensorflow")
BESIDE = ("setup_common.py", "requirements.txt", "README.md", "CHANGELOG.md")
common = runpy.run_path(str(ROOT / "setup_common.py"))


class SourceDistribution(sdist):
    """Puts the package and what is beside it into the archive, wherever they lie here."""

    def make_release_tree(self, base_dir, files):
        """Copy this folder's own files, then those of the folder above."""
        super().make_release_tree(
            base_dir, [name for name in files if ".." not in Path(name).parts]
        )
        for name in BESIDE:
            shutil.copy2(ROOT / name, base_dir)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "neid_tf", Path(base_dir) / "neid_tf", ignore=ignored)


setup(
    name="neid_tf_runtime",
    description="NEID: low-light pictures made bright and detailed, without TensorFlow",
    packages=find_packages(str(ROOT), include=["neid_tf", "neid_tf.*"]),
    package_dir={"neid_tf": os.path.relpath(ROOT / "neid_tf", HERE)},
    install_requires=common["requirements"](without=(*TENSORFLOW, *common["SCORING"])),
    extras_require=common["EXTRAS"],
    cmdclass={"sdist": SourceDistribution},
    **common["metadata"](),
)
