"""What the models here have in common: each is a part that is cut from a graph."""

import dataclasses
from typing import Any

import keras


class Part(keras.Model):
    """A functional model that knows what it was made of, and is saved by that.

    Args:
        config: the dataclass that describes the whole.
        part: how much of it the model holds.
        graph: what it is cut from, which other parts may share.
        inputs: as ``keras.Model`` takes them.
        outputs: likewise.
        name: of the model; None for its architecture's.
    """

    def __init__(
        self, config: Any, part: str, graph: Any, inputs: Any, outputs: Any, name: str | None
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name=name or config.architecture)
        self.config, self.part, self.graph = config, part, graph
        if keras.backend.backend() == "tensorflow":
            # With a GPU, Keras would have XLA compile the model anew for every size of picture.
            self.jit_compile = False

    def get_config(self) -> dict:
        """Return what :meth:`from_config` makes the model of, without its weights."""
        return {"name": self.name, "part": self.part} | dataclasses.asdict(self.config)

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Part":
        """Make a model with fresh weights.

        Args:
            config: what :meth:`get_config` returned.
            custom_objects: not needed; Keras gives it.
        """
        del custom_objects
        return cls(**config)
