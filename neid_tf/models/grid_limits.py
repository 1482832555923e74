"""What a tone may not change, and what it leaves that is to change: without anything trained.

A tone is read off a thumbnail, and such a reading is a guess. What is exposed well already is to
come back as it was, and where a picture has much light and is dark beside it, its shade is lifted.
"""

import math

import keras
from keras import layers, ops

from neid_tf.models.grid import (
    EXPOSURE,
    GLOBAL,
    SHADE,
    VEIL,
    brightest,
    from_planes,
    planes,
    toned,
)


@keras.saving.register_keras_serializable("neid_tf")
class DeadZone(layers.Layer):
    """Leave out of a tone what would change a picture that is exposed well already.

    A picture that is well exposed is to come back as it was, and not with the few percent by which
    the reading of a thumbnail is off. The tone is taken to the share ``1 − exp(−(c / width)²)``,
    where ``c`` is the root mean square of what it changes, divided by that of the picture (with
    0.01 added to the mean of the squares, since black has no level): a fifth at half of the width,
    0.98 at twice the width.

    What needs light needs much of it: a tone that makes the picture only somewhat brighter in the
    mean takes one that is dark on purpose for one that is too dark. It is besides taken to the
    share ``1 − h · exp(−(l / least_lift)⁴)``, where ``l`` is the logarithm of by how much. There
    ``h`` is 1 for a picture with white, whose brightest hundredth is above 0.95, and 0.65 below
    0.85, which may be underexposed. One that makes it darker is taken to
    ``(1 − h) · exp(−(l / darkening)²)``: a bright picture is not to come out gray. One that is
    over-exposed may a little: where more than a tenth of it is clipped, and little lies in the
    shade, about ``0.2 · (1 − exp(l / 0.2))`` stays of a tone that darkens; none of it where under
    0.03 is clipped, or 0.2 in the shade. What is clipped is lost: more of it brings out gray in
    place of white, and a codec's blocks. Where a veil of 8 levels of 255 or more is taken off,
    ``h`` is 0, since such a picture is not finished; what the veil takes off stays, and counts
    neither as brighter nor as darker.

    Where there is next to nothing to be seen, there is nothing to lift: a picture whose brightest
    hundredth is at 8 levels of 255 or more gets all of its tone, and at 3 none, unless it is dark
    and not flat (16 bits hold such pictures): one whose standard deviation is a quarter of its mean
    gets all as well, and of 0.12 none.

    Args:
        width: of the zone, as a share of the picture's level; 0 for none.
        darkening: see above; 0 for a tone that may darken.
        least_lift: see above; 0 for none.

    Inputs are thumbnails N×s×s×3 in [0, 1], with s a multiple of 4, and N×:data:`PARAMETERS`
    parameters of their tone. Gives N×:data:`PARAMETERS`, and N×1: to what share the tone was too
    slight a lift, as one that darkens is as well.
    """

    UNFINISHED = 8.0 / 255.0
    DARKER = 0.2
    NOTHING, SOMETHING = 3.0 / 255.0, 8.0 / 255.0

    def __init__(self, width=0.08, darkening=0.0, least_lift=0.0, **kwargs):
        super().__init__(**kwargs)
        self.width, self.darkening, self.least_lift = width, darkening, least_lift

    def call(self, inputs: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, ...]:
        thumbnails, parameters = inputs
        cells = _cells(thumbnails)
        made = toned(cells, parameters, ops.cast([[0.0, 0.0, 1.0, 1.0]], cells.dtype))
        veil, shade = parameters[:, VEIL:SHADE], parameters[:, SHADE:GLOBAL]
        over = share = ops.ones_like(veil)
        if self.width:
            change = ops.mean(ops.square(made - cells), axis=(1, 2, 3))
            level = ops.mean(ops.square(cells), axis=(1, 2, 3)) + 0.01
            over = share = 1.0 - ops.exp(-change / (level * self.width**2))[:, None]
        # What was to be seen, but for the veil, and what is.
        before = ops.relu(cells - veil[:, None, None]) / (1.0 - veil[:, None, None])
        before, after = (
            ops.mean(images, axis=(1, 2, 3)) for images in (before, ops.clip(made, 0.0, 1.0))
        )
        lift = ops.log((after + 1e-4) / (before + 1e-4))[:, None]
        largest = ops.max(cells, axis=-1)
        slight = self._slight(lift, veil, largest)
        if self.darkening or self.least_lift:
            may = self._may_darken(largest, lift)
            share = share * (may + (1.0 - may) * self._kept(lift) * (1.0 - slight))
        mean = ops.mean(largest, axis=(1, 2))[:, None]
        contrast = ops.std(largest, axis=(1, 2))[:, None] / (mean + 1e-5)
        bright = _rise(brightest(largest), self.NOTHING, self.SOMETHING)
        seen = ops.maximum(bright, _rise(contrast, 0.12, 0.25))
        share, over = share * seen, over * seen
        # Zeros change nothing, but for the grid, which is relative to the guide's exposure.
        log_exposure = parameters[:, EXPOSURE:VEIL]
        numbers, grid = parameters[:, :EXPOSURE], parameters[:, GLOBAL:] + log_exposure
        scaled = [share * numbers, log_exposure, over * veil, shade, share * grid - log_exposure]
        return ops.concatenate(scaled, axis=-1), slight

    def _may_darken(self, largest, lift):
        """Return to what share a tone may darken; it ends softly where the tone brightens."""
        if not self.darkening:
            return ops.exp(-ops.square(ops.relu(lift) / 0.04))
        clipped = ops.mean(ops.clip((largest - 0.97) * 50.0, 0.0, 1.0), axis=(1, 2))
        shade = ops.mean(1.0 - _rise(largest, 0.3, 0.55), axis=(1, 2))
        over_exposed = ops.clip((clipped - 0.03) / 0.07, 0.0, 1.0) * (1.0 - _rise(shade, 0.05, 0.2))
        darker = ops.relu(-lift) / self.DARKER + 1e-3
        little = (1.0 - ops.exp(-darker)) / darker
        return (
            over_exposed[:, None] * little * ops.exp(-ops.square(ops.relu(lift) / self.darkening))
        )

    def _kept(self, lift):
        if not self.darkening:
            return ops.ones_like(lift)
        return ops.exp(-ops.square(ops.relu(-lift) / self.darkening))

    def _slight(self, lift, veil, largest):
        if not self.least_lift:
            return ops.zeros_like(lift)
        white = ops.clip((brightest(largest) - 0.85) * 10.0, 0.0, 1.0)
        finished = ops.relu(1.0 - veil / self.UNFINISHED) * (0.65 + 0.35 * white)
        return finished * ops.exp(-((ops.relu(lift) / self.least_lift) ** 4))

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[1], (input_shapes[1][0], 1)

    def get_config(self) -> dict:
        fields = ("width", "darkening", "least_lift")
        return super().get_config() | {name: getattr(self, name) for name in fields}


@keras.saving.register_keras_serializable("neid_tf")
class Shade(layers.Layer):
    """Say to what share the shade of pictures is lifted: of those with much light beside it.

    All of it counts where 0.35 of the picture is bright (0.8 and more; 0.68 counts as half) and a
    quarter dark (0.15 and less; 0.25 counts as half), nothing of it where 0.12 is bright or 0.08
    dark, and only to the share to which the tone was too slight a lift (:class:`DeadZone`): what
    the tone has lifted has its shade as it is to be.

    Inputs are thumbnails N×s×s×3 in [0, 1], with s a multiple of 4, N×:data:`PARAMETERS`
    parameters of their tone, and that share, N×1. Gives N×:data:`PARAMETERS`.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        thumbnails, parameters, share = inputs
        largest = ops.max(_cells(thumbnails), axis=-1)
        bright, dark = _rise(largest, 0.55, 0.8), 1.0 - _rise(largest, 0.15, 0.35)
        for part, first, last in ((bright, 0.12, 0.35), (dark, 0.08, 0.25)):
            share = share * _rise(ops.mean(part, axis=(1, 2))[:, None], first, last)
        return ops.concatenate([parameters[:, :SHADE], share, parameters[:, GLOBAL:]], axis=-1)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[1]


@keras.saving.register_keras_serializable("neid_tf")
class LiftedShade(layers.Layer):
    """Lift the shade of enhanced pictures, to the share that :class:`Shade` says.

    No pair of pictures teaches that well: a figure before a bright sky is a picture that is exposed
    well in the mean, and the same as its reference. So it comes after the network, which does not
    see it. The largest channel ``m`` becomes ``m · (1 + s · c · m · exp(−(m / 0.2)²))``, and the
    others follow: black and what is bright stay, what is at 0.14 gets the most, and brighter stays
    brighter.

    Args:
        gain: the most that a pixel is multiplied by, from 1 to 2; it says what ``c`` is.

    Inputs are pictures N×h×w×3 and N×:data:`PARAMETERS` parameters of their tone. Gives N×h×w×3.
    Pictures whose 2×2 pixels lie behind each other (N×h×w×12) stay so.
    """

    WIDTH = 0.2

    def __init__(self, gain=1.6, **kwargs):
        super().__init__(**kwargs)
        self.gain = gain

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        images, parameters = inputs
        steepness = (self.gain - 1.0) * math.sqrt(2.0 * math.e) / self.WIDTH
        share = (steepness * parameters[:, SHADE])[:, None, None, None]
        pixels = planes(images)
        largest = ops.max(pixels, axis=2, keepdims=True)
        lift = share * largest * ops.exp(ops.square(largest) * (-1.0 / self.WIDTH**2))
        return from_planes(pixels * (1.0 + lift), images)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]

    def get_config(self) -> dict:
        return super().get_config() | {"gain": self.gain}


def _cells(thumbnails):
    """Return thumbnails of a quarter of the side."""
    return ops.average_pool(thumbnails, 4, 4)


def _rise(values, first, last):
    """Return 0 up to ``first``, 1 from ``last`` on, and a smooth passage between them."""
    place = ops.clip((values - first) / (last - first), 0.0, 1.0)
    return place * place * (3.0 - 2.0 * place)
