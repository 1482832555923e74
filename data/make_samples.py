"""Make the low-light sample pictures in data/samples from pictures that scikit-image ships.

    python data/make_samples.py [FOLDER]

Each is halved, which hides the compression of its source, then darkened as a camera would with
too short an exposure: back to linear light, a fraction of the exposure, shot and read noise, a
camera's curve, 8 bits. The seed is fixed: the files come out the same each time.

Sources: "astronaut" (NASA, public domain), "coffee" (Rachel Michetti, CC0), "rocket"
(SpaceX, CC0).
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from skimage import data

SCENES = {"astronaut": 0.055, "coffee": 0.05, "rocket": 0.09}
"""The share of the right exposure that each picture gets."""
FULL_WELL, READ_NOISE = 20000.0, 4.0
"""Electrons at white, and the standard deviation of the sensor's noise in electrons."""


def darken(image: np.ndarray, exposure: float, rng: np.random.Generator) -> np.ndarray:
    """Return the low-light version of a uint8 sRGB picture.

    Args:
        image: H×W×3.
        exposure: share of the right exposure, in (0, 1].
        rng: NumPy generator of the noise.
    """
    linear = (image / 255.0) ** 2.2 * exposure
    electrons = rng.poisson(linear * FULL_WELL) + rng.normal(0.0, READ_NOISE, image.shape)
    return np.rint(np.clip(electrons / FULL_WELL, 0.0, 1.0) ** (1 / 2.2) * 255.0).astype(np.uint8)


def main(folder: Path) -> None:
    """Write the samples and their sources."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2022)
    for name, exposure in SCENES.items():
        source = getattr(data, name)()
        size = (source.shape[1] // 4 * 2, source.shape[0] // 4 * 2)
        source = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
        low = darken(source, exposure, rng)
        for kind, picture in (("low", low), ("high", source)):
            path = folder / kind / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), picture[..., ::-1])
            print(path)


if __name__ == "__main__":
    if len(sys.argv) > 2 or sys.argv[-1].startswith("-"):
        sys.exit(__doc__)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "samples")
