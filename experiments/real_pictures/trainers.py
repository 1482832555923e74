"""The models that ``fit`` trains for real pictures: of the tone, and of the streams under it."""

from typing import Any

import keras
from keras import ops

from experiments.real_pictures.losses import apart, loss, to_exposure, tone_loss, toned
from experiments.real_pictures.store import Store
from neid_tf import models
from neid_tf.data import augment
from neid_tf.models import grid
from neid_tf.models.grid_reader import luminance
from neid_tf.models.layers import area_resize

SIDE = 64


def grayed(pictures: Any, batch: dict) -> Any:
    """Return pictures N×h×w×3 with as much colour as a batch says, from none to their own."""
    gray = luminance(pictures)
    return gray + (pictures - gray) * batch["colour"][:, None, None, None]


class Trainer(keras.Model):
    """What is common to both parts: the pictures, their draws, and ``fit``.

    Args:
        store: the pictures.
        reader: from thumbnails N×128×128×3 to the tone's parameters.
    """

    def __init__(self, store: Store, reader: keras.Model) -> None:
        super().__init__(dtype="float32")
        self.store, self.reader = store, reader
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list:
        """The loss alone."""
        return [self.tracker]

    def build(self, input_shape: Any = None) -> None:
        """All parts are built already."""

    def exposed(self, pictures: Any, batch: dict) -> Any:
        """Change exposure, contrast and white balance as a batch says."""
        power, gain = batch["power"][:, None, None, None], batch["gain"][:, None, None]
        return ops.clip(ops.maximum(pictures, 1e-6) ** power * gain, 0.0, 1.0)

    def seen(self, pictures: Any, side: int, batch: dict) -> Any:
        """Return what a batch shows of whole pictures, side×side cells."""
        cells = area_resize(pictures, side, batch["view"])
        return augment.mirror(cells, batch["mirrored"])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:
        """Return the mean of the losses that :meth:`call` gave."""
        total = ops.mean(y_pred)
        self.tracker.update_state(total)
        return total


class ToneTrainer(Trainer):
    """Trains the tone on thumbnails of whole pictures."""

    def call(self, batch: dict, training: bool = False) -> Any:
        """Return the losses, one a picture, of what ``Batches`` drew."""
        low = self.exposed(self.store.thumbnails(batch["low"]), batch)
        high = self.seen(self.store.thumbnails(batch["high"]), SIDE, batch)
        low, high = grayed(self.seen(low, 128, batch), batch), grayed(high, batch)
        parameters = self.reader(low, training=training)
        return tone_loss(parameters, ops.average_pool(low, (2, 2), (2, 2)), high)


class TaughtTrainer(Trainer):
    """Trains the tone to read off what arrives what another tone reads off what was sent.

    A compressed picture is to get the tone that it gets uncompressed, one that is turned the tone
    that it gets upright, one without colour the brightness that it gets in colour, and no reference
    is needed.

    Args:
        store: the pictures.
        reader: from thumbnails N×128×128×3 to the tone's parameters.
        teacher: likewise, which stays as it is.
        corrected: whether nothing is trained but what corrects the reading where there is no
            colour (``tone_gray`` of the model).
    """

    def __init__(
        self, store: Store, reader: keras.Model, teacher: keras.Model, corrected: bool = False
    ) -> None:
        super().__init__(store, reader)
        teacher.trainable, self.teacher = False, teacher
        for layer in reader.layers if corrected else ():
            layer.trainable = layer.name.startswith("tone_gray")

    def call(self, batch: dict, training: bool = False) -> Any:
        """Return the losses, one a picture, of what ``Batches`` drew."""
        arrived, sent = (
            self.seen(self.exposed(self.store.thumbnails(batch[name]), batch), 128, batch)
            for name in ("low", "whole")
        )
        steps = [batch["turns"][:, index] for index in range(3)]
        arrived = augment.moved(arrived, steps)
        read = self.reader(grayed(arrived, batch), training=training)
        wanted = ops.stop_gradient(self.teacher(sent, training=False))
        sent = ops.average_pool(sent, (2, 2), (2, 2))
        wanted = augment.moved(toned(sent, wanted), steps)
        made = toned(grayed(augment.moved(sent, steps), batch), read)
        batch = {"colour": ops.floor(batch["colour"])}  # Of what has less the brightness counts.
        return apart(grayed(made, batch), grayed(wanted, batch))


class StreamsTrainer(Trainer):
    """Trains encoder, decoder and refinement on crops; the tone stays as it is.

    What exposure a picture is to have is the tone's to say, which sees all of it: the streams are
    not asked for another.

    Args:
        store: the pictures.
        reader: from thumbnails N×128×128×3 to the tone's parameters.
        network: whose streams are trained.
        side: of the crops, in pixels.
    """

    def __init__(self, store: Store, reader: keras.Model, network: keras.Model, side: int) -> None:
        super().__init__(store, reader)
        reader.trainable, self.side = False, side
        parts = ("encoder", "decoder", "refiner")
        self.encoder, self.decoder, self.refiner = (models.as_part(network, p) for p in parts)

    def call(self, batch: dict, training: bool = False) -> Any:
        """Return the losses, one a picture, of what ``Batches`` drew."""
        crop, sent = self.store.crops, batch["is_sent"]
        steps = [batch["turns"][:, index] for index in range(3)]
        low = self.exposed(self.store.thumbnails(batch["low"]), batch)
        seen = self.seen(low, 128, batch)
        parameters = self.reader(seen, training=False)
        shown = self.seen(self.store.thumbnails(batch["high"]), SIDE, batch)
        exposure = to_exposure(shown, toned(ops.average_pool(seen, (2, 2), (2, 2)), parameters))
        tone = {"tone_parameters": grid.transposed(parameters, steps[0])}
        picture = self.exposed(crop(batch["source"], batch["corner"], self.side), batch)
        small = crop(batch["sent"], batch["corner"] // 2, self.side // 2, halved=True)
        halved = augment.halve(picture)
        image = ops.where(sent[:, None, None, None], self.exposed(small, batch), halved)
        high = augment.moved(crop(batch["high"], batch["corner"], self.side), steps)
        seen_at = batch["place"], batch["view"], batch["mirrored"]
        box = {"box": augment.box_in_view(*seen_at, steps)}
        encoded = self.encoder({"image": augment.moved(image, steps)} | tone | box)
        gain = encoded.pop("gain")
        decoded = self.decoder(encoded | box)
        full_size = {"picture": augment.moved(picture, steps), "gain": gain}
        refined = self.refiner(full_size | tone | decoded)
        # Of what was sent small there is no full size: there LE's picture is all.
        sent = ops.cast(sent, "float32")
        light = loss(high, ops.depth_to_space(decoded["folded"], 2), exposure) * (0.4 + 0.6 * sent)
        return light + loss(high, refined, exposure) * (1.0 - sent)
