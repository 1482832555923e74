"""Dark, night and coloured versions of well-lit pictures, by a camera's inverse.

Pictures are float32 H×W×3 in [0, 1]; every function draws from a NumPy generator.
"""

import cv2
import numpy as np

EXTENSIONS = {
    "JPEG": (".jpg", cv2.IMWRITE_JPEG_QUALITY),
    "WEBP": (".webp", cv2.IMWRITE_WEBP_QUALITY),
}


def _plane(height, width):
    """Return vertical and horizontal coordinates from -1 to 1."""
    return np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]


def grain(noise: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return white noise as cameras write it, of the same power: coarser, in colour most of all.

    A mosaic of colours that is filled in, the camera's own denoising and JPEG's halved colours
    make neighbours alike: on photographs by night luminance correlates by .4 to .9 with the next
    pixel and colour by .5 to .9, where LoL's noise has .0 to .6 and .0 to .2. A third of it stays
    white, as LoL's.

    Args:
        noise: H×W×3, of any power.
        random: what is drawn from.
    """
    if random.random() < 1 / 3:
        return noise
    luminance = noise.mean(axis=-1, keepdims=True)
    fine = _coarser(luminance, random.uniform(0.3, 0.9))
    return fine + _coarser(noise - luminance, random.uniform(0.6, 1.5))


def _coarser(noise, width):
    """Return white noise blurred, with the power that it had."""
    kernel = cv2.getGaussianKernel(2 * int(np.ceil(3 * width)) + 1, width)
    blurred = cv2.sepFilter2D(noise, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    return blurred.reshape(noise.shape) / np.sum(kernel**2)


def _exposed(light, well, read, random):
    """Return the light that a sensor counts, in linear light.

    Args:
        light: that falls on it, of its white.
        well: electrons that are white.
        read: electrons of noise that are there without light.
        random: what is drawn from.
    """
    light = np.clip(light, 0, 1)
    electrons = random.poisson(light * well) + random.normal(0, read, light.shape)
    return np.clip(light + grain(electrons / well - light, random), 0, 1)


def darken(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the picture with 1.5 to 5.5 stops less light, noise and a wrong white balance.

    Args:
        picture: well lit.
        random: what is drawn from.
    """
    curve = random.uniform(1.9, 2.4)
    light = picture**curve * 2.0 ** -random.uniform(1.5, 5.5)
    light = light * np.exp(random.normal(0.0, 0.07, 3))
    if random.random() < 0.35:
        angle, (y, x) = random.uniform(0, 2 * np.pi), _plane(*picture.shape[:2])
        ramp = np.cos(angle) * y + np.sin(angle) * x
        light = light * 2.0 ** (random.uniform(0, 2) * ramp)[..., None]
    well = 2.0 ** random.uniform(11, 15)
    counted = _exposed(light, well, random.uniform(1, 5), random)
    return (counted ** (1 / curve)).astype(np.float32)


def lit_part(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a soft mask, H×W×1: one side of a line, some spots, or what is bright.

    Args:
        picture: the one to be lit.
        random: what is drawn from.
    """
    draw, (y, x) = random.random(), _plane(*picture.shape[:2])
    if draw < 0.35:
        angle = random.uniform(0, 2 * np.pi)
        place = np.cos(angle) * y + np.sin(angle) * x - random.uniform(-0.4, 0.4)
        mask = _sigmoid(place * np.exp(random.uniform(np.log(3), np.log(40))))
    elif draw < 0.7:
        mask = np.zeros(y.shape)
        for _ in range(random.integers(1, 5)):
            (top, left), sizes = random.uniform(-0.9, 0.9, 2), random.uniform(0.15, 0.6, 2)
            distance = ((y - top) / sizes[0]) ** 2 + ((x - left) / sizes[1]) ** 2
            mask = np.maximum(mask, np.exp(-(distance ** random.choice([1, 2, 4]))))
    else:
        largest = picture.max(axis=-1)
        threshold = np.quantile(largest, random.uniform(0.3, 0.7))
        mask = _sigmoid((largest - threshold) * random.uniform(15, 60))
    return mask[..., None].astype(np.float32)


def _sigmoid(values):
    return 1.0 / (1.0 + np.exp(-np.clip(values, -30, 30)))


def night(picture: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture that is lit in part, darkened or not, and what is to be made of it.

    What has no light is to stay black, though noise and a black level lift it a little.

    Args:
        picture: well lit.
        random: what is drawn from.
    """
    mask, curve = lit_part(picture, random), random.uniform(1.9, 2.4)
    share = 2.0 ** -random.uniform(0, 4.5) if random.random() < 0.65 else 1.0
    return _seen_by_night(picture * mask ** (1 / curve), curve, share, (2.2, 0.9), random)


def city(picture: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the lights of a picture under a black sky, and what is to be made of it.

    As :func:`night`, but what is bright stays bright, alone, and mostly on one side of a line.

    Args:
        picture: well lit.
        random: what is drawn from.
    """
    (y, x), curve = _plane(*picture.shape[:2]), random.uniform(1.9, 2.4)
    largest = picture.max(axis=-1)
    threshold = np.quantile(largest, random.uniform(0.6, 0.97))
    mask = _sigmoid((largest - threshold) * random.uniform(20, 80))
    mask = np.maximum(mask, random.uniform(0, 0.04) * (random.random() < 0.6))
    if random.random() < 0.7:
        side = 1 if random.random() < 0.75 else -1
        place = side * y + random.normal(0, 0.25) * x - random.uniform(-0.5, 0.5)
        mask = mask * _sigmoid(place * np.exp(random.uniform(np.log(5), np.log(80))))
    share = 2.0 ** -random.uniform(0, 2.5) if random.random() < 0.4 else 1.0
    mask = mask[..., None].astype(np.float32)
    return _seen_by_night(picture * mask ** (1 / curve), curve, share, (3.0, 1.2), random)


def _seen_by_night(target, curve, share, most, random):
    """Return what a camera makes of a scene of a share of its light, and the scene.

    Args:
        target: the scene.
        curve: of the camera.
        share: of the light.
        most: the largest black level and the largest noise, of 255.
        random: what is drawn from.
    """
    light = target.astype(np.float64) ** curve * share * np.exp(random.normal(0, 0.05, 3))
    level = random.uniform(0, most[0]) / 255 * np.exp(random.normal(0, 0.35, 3))
    level = level * (random.random() < 0.75)
    low = np.sqrt((np.clip(light, 0, 1) ** (1 / curve)) ** 2 + level**2)
    noise = random.normal(0, random.uniform(0.1, most[1]) / 255, low.shape)
    low = low + grain(noise, random)
    return np.clip(low, 0, 1).astype(np.float32), target.astype(np.float32)


def unlit(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the picture as a dark one of more contrast, mostly with a black ground.

    What it is to look like enhanced is not known.

    Args:
        picture: well lit.
        random: what is drawn from.
    """
    made = picture ** random.uniform(1.0, 2.2) * 2.0 ** -random.uniform(0.0, 2.5)
    if random.random() < 0.6:
        made = (made - random.uniform(0.0, 0.06)).clip(0.0) * random.uniform(1.0, 1.3)
    if random.random() < 0.5:
        least = random.uniform(0.0, 0.05) * (random.random() < 0.5)
        made = made * np.maximum(lit_part(picture, random), least)
    made = coloured_light(made, random) if random.random() < 0.4 else made
    if random.random() < 0.4:
        made = made + random.normal(0.0, random.uniform(0.1, 1.5) / 255, made.shape)
    return np.clip(made, 0.0, 1.0).astype(np.float32)


def backlit(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the picture with its darker part in the shade, as before a bright sky.

    Unlike in :func:`night`, what is dark has light enough to be seen.

    Args:
        picture: well lit.
        random: what is drawn from.
    """
    blurred = cv2.GaussianBlur(picture.max(axis=-1), (0, 0), random.uniform(1.0, 8.0))
    threshold = np.quantile(blurred, random.uniform(0.35, 0.75))
    sky = _sigmoid((blurred - threshold) * random.uniform(10, 40))
    if random.random() < 0.3:  # A figure, or what is inside of a window.
        sky = np.maximum(sky, lit_part(picture, random)[..., 0])
    curve, stops = random.uniform(1.9, 2.4), random.uniform(1.2, 3.8)
    light = picture**curve * 2.0 ** (random.uniform(0, 0.5) - stops * (1.0 - sky[..., None]))
    well = 2.0 ** random.uniform(12, 15)
    return (_exposed(light, well, 0.0, random) ** (1 / curve)).astype(np.float32)


def coloured_light(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the picture under a lamp, mostly a warm one, on all of it or on a part.

    Args:
        picture: under white light.
        random: what is drawn from.
    """
    warm = np.array([1.0, random.uniform(0.4, 0.85), random.uniform(0.06, 0.5)])
    colour = warm if random.random() < 0.7 else random.uniform(0.2, 1, 3)
    gain = (colour / colour.max()) ** (1 / 2.2)
    if random.random() < 0.5:
        gain = 1 + lit_part(picture, random) * (gain - 1)
    return (picture * gain).astype(np.float32)


def keyed(picture: np.ndarray, exponent: float) -> np.ndarray:
    """Return the picture in another key: its largest channels to a power, hues kept.

    Args:
        picture: well lit.
        exponent: above 1 for a darker key, below for a brighter one.
    """
    largest = np.maximum(picture.max(axis=-1, keepdims=True), 1e-4)
    return (picture * largest ** (exponent - 1.0)).astype(np.float32)


def dull(picture: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture as a camera gives it, and as somebody who edits it would leave it.

    What is left is bright or dark on purpose; the camera's picture has less chroma, mostly less
    light and contrast, and at times a veil.

    Args:
        picture: as it is to look.
        random: what is drawn from.
    """
    if random.random() < 0.25:
        picture = keyed(picture, np.exp(random.uniform(-0.35, 0.9)))
    gray = picture.mean(axis=-1, keepdims=True)
    pale = gray + (picture - gray) * random.uniform(0.4, 1.0)
    if random.random() < 0.3:
        veil = random.uniform(0.0, 0.08)
        pale = veil + (1.0 - veil) * pale
    if random.random() < 0.6:  # The inverse of a smooth step, which editing puts on.
        pale = np.clip(pale, 0, 1)
        flat_one = 0.5 - np.sin(np.arcsin(1.0 - 2.0 * pale) / 3.0)
        pale = pale + (flat_one - pale) * random.uniform(0.2, 1.0)
    light = np.clip(pale, 0, 1) ** 2.2 * 2.0 ** -random.uniform(-0.2, 1.3)
    light = light * np.exp(random.normal(0.0, 0.05, 3))
    return (np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.float32), picture


def flat(size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Return a wall of one colour or gray, H×W×3, at times brighter on one side.

    Args:
        size: height and width, in pixels.
        random: what is drawn from.
    """
    colour = random.uniform(0.12, 1.0, 3) if random.random() < 0.5 else random.uniform(0.12, 1.0)
    angle, (y, x) = random.uniform(0, 2 * np.pi), _plane(*size)
    slope = random.uniform(0.0, 0.3) * (random.random() < 0.5)
    wall = colour * (1.0 + slope * (np.cos(angle) * y + np.sin(angle) * x)[..., None])
    wall = wall + random.normal(0.0, random.uniform(0.0, 0.03), (*size, 3))
    return np.clip(wall, 0, 1).astype(np.float32)


def compress(pixels: np.ndarray, codec: str, quality: int) -> np.ndarray:
    """Return uint8 pixels as they come out of a codec, ``JPEG`` or ``WEBP``.

    Args:
        pixels: uint8 H×W×3, RGB.
        codec: one of :data:`EXTENSIONS`.
        quality: of the codec, 1 to 100.
    """
    extension, flag = EXTENSIONS[codec]
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    stored = cv2.imencode(extension, bgr, [flag, int(quality)])[1]
    return np.ascontiguousarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1])
