"""The model that ``fit`` trains, with its ``train_step`` (sections 2.3 and 3.2)."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from neid_tf.data import augment
from neid_tf.data.pairs import Pairs
from neid_tf.models import grid
from neid_tf.models.layers import area_resize
from neid_tf.models.neid import NEID, THUMBNAIL
from neid_tf.models.tone import ToneCurve
from neid_tf.training import metrics
from neid_tf.training.objective import Objective

Batch = Mapping[str, Any]
"""A batch as :mod:`neid_tf.data.batches` loads it."""


class Trainer(keras.Model):
    """A network with the losses of section 2.3, for ``fit``.

    It is fed the batches of :mod:`neid_tf.data.batches` and does the rest on the device: flips,
    turns, halving, the network, the weighted loss. Other Keras backends run it through their own
    ``train_step``.

    Args:
        network: part ``training``.
        objective: the weighted loss.
        exposure: see :class:`neid_tf.data.sampling.Sampling`.
        train: see :class:`neid_tf.training.config.TrainConfig`.

    Attributes:
        forward: from the network's inputs to its outputs, both by name; of a network with a grid
            of gains, ``transposed`` is among the inputs, see :func:`_with_turned_grid`.
    """

    enhances = True
    """Whether the network gives enhanced pictures that are worth scoring."""

    def __init__(
        self,
        network: NEID,
        objective: Objective,
        exposure: float = 0.0,
        train: str = "all",
        **kwargs: Any,
    ) -> None:
        # The pictures stay in full precision; the network casts them itself.
        super().__init__(dtype="float32", **kwargs)
        self.network, self.objective, self.exposure = network, objective, exposure
        self.forward = self._forward(train)
        names = ["loss", *self._term_names(), *(["psnr"] if self._tells_psnr() else [])]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    def compile(self, **options: Any) -> None:
        """Take the optimizer and the other options of ``keras.Model.compile``.

        The optimizer's variables are made at once: made in the first step, that is traced twice.
        """
        super().compile(**options)
        self.optimizer.build(self.network.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.trackers.values())

    def prepared(self, pairs: Pairs) -> Pairs:
        """Return the pairs to train on, as the network needs them."""
        return pairs

    def _forward(self, train: str) -> Any:
        """Return what is called with the network's inputs."""
        network = self.network
        model = _with_turned_grid(network) if network.config.has_grid else network
        return model if train == "all" else _partly(model, network, train)

    def _tells_psnr(self) -> bool:
        return "le" in self.forward.output

    def _term_names(self) -> list[str]:
        blank = {name: np.zeros((1, 11, 11, 3), np.float32) for name in self.forward.output}
        return list(self.objective.terms(blank, blank))

    def call(self, batch: Batch, training: bool = False) -> dict[str, dict[str, Any]]:
        """Return the network's outputs and their targets, both by name, for a batch.

        Args:
            batch: as it was loaded.
            training: whether dropout drops.
        """
        low, inputs, targets = self.prepare(batch)
        outputs = self.forward(inputs, training=training)
        if "dr" in outputs:
            targets["dr"] = self._detail_target(low, targets["le"], inputs, outputs)
        return {"outputs": outputs, "targets": targets}

    def _detail_target(self, low: Any, high: Any, inputs: Any, outputs: Mapping[str, Any]) -> Any:
        config = self.network.config
        if config.detail_target != "toned":
            return low if config.detail_target == "low" else high
        parameters = outputs["tone_parameters"]
        if config.has_grid:
            return ops.stop_gradient(grid.toned(low, parameters, inputs["box"]))
        return ops.stop_gradient(ToneCurve(dtype="float32")([low, parameters]))

    def prepare(self, batch: Batch) -> tuple[Any, Any, dict[str, Any]]:
        """Turn a batch into the low-light crops, the network's inputs, and its targets.

        Returns:
            The crops, N×S×S×3 in [0, 1]; the network's input, or inputs by name; and the targets
            by name, ``le`` and ``refined`` of the crops' shape and ``tone`` N×128×128×3, those
            that the network has.
        """
        config = self.network.config
        turned = [
            augment.flip_and_turn(augment.to_float(batch[side]), batch["flip"], batch["turns"])
            for side in ("low", "high")
        ]
        low, high = augment.expose(turned[0], batch["exposure"], self.exposure), turned[1]
        image = low if config.scale == 1 else augment.halve(low)
        if not config.tone:
            return low, image, {"le": high}
        view, inputs, targets = batch["view"], {"image": image}, {"le": high}
        if config.has_grid:
            # A gain of another place says nothing of the crop's.
            view = augment.view_with(batch["place"], view)
            steps = augment.moves(batch["flip"], batch["turns"])
            inputs["box"] = augment.box_in_view(batch["place"], view, batch["mirror"], steps)
            inputs["transposed"] = steps[0]
        if config.refinement:
            inputs["picture"], targets["refined"] = low, high
        views = [_view(batch[f"{side}_mini"], view, batch) for side in ("low", "high")]
        inputs["thumbnail"] = augment.expose(views[0], batch["exposure"], self.exposure)
        return low, inputs, targets | {"tone": views[1]}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compute the mean of the total loss, equation 7, and note each term.

        Args:
            x: not used, as y and sample_weight: the targets come with the outputs.
            y: not used.
            y_pred: what :meth:`call` gave.
            sample_weight: not used.
            training: not used.
        """
        total = 0.0
        for name, values in self.objective.terms(y_pred["outputs"], y_pred["targets"]).items():
            values = ops.cast(values, "float32")
            self.trackers[name].update_state(values)
            total = total + ops.mean(values)
        self.trackers["loss"].update_state(total)
        if "psnr" in self.trackers:
            best = "refined" if "refined" in y_pred["outputs"] else "le"
            light = y_pred["targets"][best], ops.clip(y_pred["outputs"][best], 0.0, 1.0)
            self.trackers["psnr"].update_state(metrics.psnr(*light))
        return total

    if keras.backend.backend() == "tensorflow":

        def _maybe_symbolic_build(self, iterator=None, data_batch=None):
            """Leave the building to the first step.

            Keras 3.15 builds from a first batch under a strategy, and fails over dictionaries
            with several workers (keras-team/keras issue 20329).
            """

        def _shares(self, gradients: list[Any], strategy: Any) -> list[Any]:
            """Return what each replica contributes to the sum that the optimizer takes.

            Keras clips before it adds the replicas' gradients up, so that clipping would mean
            something else with several of them. Equal shares of the sum are clipped as the sum.
            """
            optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
            count = strategy.num_replicas_in_sync
            if count == 1 or not optimizer.global_clipnorm:
                return gradients
            import tensorflow as tf

            context = tf.distribute.get_replica_context()
            # What has no part in the loss has none.
            there = [gradient for gradient in gradients if gradient is not None]
            total = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, there))
            return [None if gradient is None else next(total) / count for gradient in gradients]

        def train_step(self, data: Any) -> dict[str, Any]:
            import tensorflow as tf

            batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
            strategy = tf.distribute.get_strategy()
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y_pred=self(batch, training=True))
                scaled = self.optimizer.scale_loss(loss / strategy.num_replicas_in_sync)
            variables = self.network.trainable_variables
            gradients = self._shares(tape.gradient(scaled, variables), strategy)
            self.optimizer.apply(gradients, variables)
            results = self.get_metrics_result()
            if _has_several_workers(strategy):
                # Keras averages over workers along an axis that scalars do not have.
                results = {name: value[None] for name, value in results.items()}
            return results


def _has_several_workers(strategy):
    """Tell whether a strategy of TensorFlow shares a batch out among processes."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    tasks = strategy.cluster_resolver.cluster_spec().as_dict()
    return sum(len(tasks.get(kind, ())) for kind in ("chief", "worker")) > 1


def _with_turned_grid(network: NEID) -> keras.Model:
    """Return a network that takes ``transposed`` too: N booleans, of which crops it is true.

    Its tone is read off thumbnails that stand upright, and the grid is turned as the crop is.
    """
    inputs, outputs = dict(network.input), dict(network.output)
    tone = {"tone": outputs.pop("tone")}
    upright = outputs.pop("tone_parameters")
    of_crop = {name: tensor for name, tensor in inputs.items() if name != "thumbnail"}
    streams = keras.Model(of_crop | {"tone_parameters": upright}, outputs)
    inputs["transposed"] = keras.Input((), dtype="bool", name="transposed")
    tone["tone_parameters"] = grid.transposed(upright, inputs["transposed"])
    turned = {"tone_parameters": tone["tone_parameters"]}
    return keras.Model(inputs, tone | streams(of_crop | turned))


def _partly(model: keras.Model, network: NEID, train: str) -> keras.Model:
    """Keep the other part of a network as it is; return the model of what has a loss then.

    Args:
        model: the whole forward pass.
        network: the layers that it is made of.
        train: what learns, ``tone`` or ``streams``.
    """
    for layer in network.layers:
        of_tone = layer.name.startswith("tone_")
        layer.trainable = of_tone == (train == "tone") and layer.trainable
        if isinstance(layer, keras.layers.Dropout) and not layer.trainable:
            layer.rate = 0.0
    kept = {"tone", "tone_parameters"} if train == "tone" else set(model.output) - {"tone"}
    return keras.Model(model.input, {name: model.output[name] for name in kept})


def _view(miniatures: Any, view: Any, batch: Batch) -> Any:
    """Cut thumbnails out of miniatures; some are mirrored, but none is turned or flipped."""
    thumbnails = area_resize(augment.to_float(miniatures), THUMBNAIL, view)
    return augment.mirror(thumbnails, batch["mirror"])
