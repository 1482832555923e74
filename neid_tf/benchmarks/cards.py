"""NVIDIA cards: which is here, and what its maker says that it can do at most."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess


@dataclasses.dataclass(frozen=True)
class Card:
    """The published peaks of a card: dense, not with sparsity.

    Attributes:
        teraflops: 10¹² operations a second, by precision: ``float32``, ``tf32``, ``bfloat16``.
        terabytes: 10¹² bytes of its memory a second.
    """

    teraflops: dict[str, float]
    terabytes: float

    def peak(self, precision: str) -> float:
        """Return the operations a second of a precision; a card without TF32 uses float32 for it.

        Args:
            precision: as in ``teraflops``.
        """
        return 1e12 * self.teraflops.get(precision, self.teraflops["float32"])


def _card(float32: float, tf32: float | None, bfloat16: float | None, terabytes: float) -> Card:
    known = {"float32": float32, "tf32": tf32, "bfloat16": bfloat16}
    return Card({name: value for name, value in known.items() if value}, terabytes)


CARDS = {
    "H200": _card(67.0, 494.5, 989.0, 4.8),
    "H100 NVL": _card(60.0, 417.5, 835.0, 3.9),
    "H100 PCIe": _card(51.0, 378.0, 756.0, 2.0),
    "H100": _card(67.0, 494.5, 989.0, 3.35),
    "A100-SXM4-80GB": _card(19.5, 156.0, 312.0, 2.039),
    "A100 80GB PCIe": _card(19.5, 156.0, 312.0, 1.935),
    "A100": _card(19.5, 156.0, 312.0, 1.555),
    "L40S": _card(91.6, 183.0, 362.0, 0.864),
    "L4": _card(30.3, 60.0, 121.0, 0.3),
    "V100": _card(15.7, None, None, 0.9),
    "T4": _card(8.1, None, None, 0.32),
}
"""The cards whose peaks are known, by what their names hold; the first that fits is meant."""


def known(name: str | None) -> Card | None:
    """Return the peaks of a card, or None for an unknown one.

    Args:
        name: as ``nvidia-smi`` and TensorFlow tell it, such as ``NVIDIA H100 80GB HBM3``.
    """
    words = (name or "").split()
    for wanted, card in CARDS.items():
        parts = wanted.split()
        if any(_fits(words[at : at + len(parts)], parts) for at in range(len(words))):
            return card
    return None


def _fits(words, parts):
    """Tell whether words are those of a name; the last may go on, as A100-PCIE-40GB does."""
    *first, last = parts
    return words[:-1] == first and (words[-1] == last or words[-1].startswith(f"{last}-"))


def name() -> str | None:
    """Return the name of the first card of this machine, or None where there is none."""
    if not (program := shutil.which("nvidia-smi")):
        return None
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.split("\n") if done.returncode == 0 else []
    return next((line.strip() for line in lines if line.strip()), None)
