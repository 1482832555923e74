"""What a camera makes of a scene in the dark: one colour a pixel, noise, demosaicing, its balance.

Pictures that are enhanced have been through all of it. So their noise is coarser than a pixel, in
colour most of all.
"""

import cv2
import numpy as np

CURVE = 2.2
WELL = 4096.0
"""Electrons that are white."""
READ = 3.0
"""Electrons of noise that are there without light."""
BALANCE = np.array([2.0, 1.0, 1.6])
"""What red, green and blue are multiplied by."""
BLACK, SPAN = 2000.0, 29000.0
"""The level of black and how far white is above it, of 16 bits: noise below black is kept."""


def taken(picture: np.ndarray, stops: float, seed: int) -> np.ndarray:
    """Return what a camera writes of a scene before a codec, uint8 H×W×3.

    Args:
        picture: the scene under good light, uint8 H×W×3, RGB.
        stops: by how many there is less light.
        seed: of the noise.
    """
    random = np.random.default_rng(seed)
    light = (picture / 255.0) ** CURVE * 2.0**-stops / BALANCE
    mosaic = light[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = light[::2, ::2, 0], light[1::2, 1::2, 2]
    counted = random.poisson(mosaic * WELL) + random.normal(0.0, READ, mosaic.shape)
    scale = SPAN * 2.0**stops / WELL
    raw = np.rint(np.clip(BLACK + counted * scale, 0, 65535)).astype(np.uint16)
    filled = cv2.demosaicing(raw, cv2.COLOR_BayerBG2RGB_EA)
    linear = (filled - BLACK) / scale / WELL * BALANCE
    return np.rint(np.clip(linear, 0.0, 1.0) ** (1 / CURVE) * 255).astype(np.uint8)
