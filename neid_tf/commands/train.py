"""neid train --data=DIR --workdir=DIR [--flagfile=experiments/paper.flags]

Trains a model on pairs of pictures. A run that was stopped goes on from its last
checkpoint when the same command is given again. The defaults are the paper's. WORKDIR
gets settings, checkpoints, history.jsonl, a TensorBoard log, and weights to use by path:
best.npz by validation, and last.npz.
"""

import os
from pathlib import Path

from absl import flags

from neid_tf.commands import common, terminal
from neid_tf.data import held_out, pairs
from neid_tf.models import config as model_config
from neid_tf.support import keras_start
from neid_tf.training import checkpoints
from neid_tf.training.config import TrainConfig

_WORKDIR = common.define_path(
    "workdir", None, "Folder of the run: what it writes, and where a stopped one goes on from."
)
_MODEL = flags.DEFINE_enum("model", "neid", list(model_config.VARIANTS), "The model to train.")
_VALIDATION = common.define_path(
    "validation",
    "auto",
    "Pairs to hold out: 'lol' for the project's list of our485's scenes, 'none', a share such as "
    "0.1, a folder of pairs, or a text file of names. 'auto' is 'lol' for LoL's own pairs, and "
    "'none' for others.",
)
_ALLOW_CHANGED_DATA = flags.DEFINE_bool(
    "allow_changed_data", False, "Go on with a run although its pairs are not what they were."
)
_MODEL_FLAGS = common.define_fields(model_config.ModelConfig, optional=True)
_CONFIG_FLAGS = common.define_fields(TrainConfig)
common.declare(__name__, common.DATA, *_MODEL_FLAGS.values(), *_CONFIG_FLAGS.values())


def config_from_flags() -> TrainConfig:
    """Return the :class:`TrainConfig` of the flags."""
    return common.from_flags(TrainConfig, _CONFIG_FLAGS)


def model_from_flags(config: TrainConfig) -> tuple[str, dict]:
    """Return the name of the model to train so, and the fields that the flags change."""
    given = {name: h.value for name, h in _MODEL_FLAGS.items() if h.value is not None}
    try:
        config.check_model(model_config.model_config(_MODEL.value, **given))
    except ValueError as error:
        raise flags.ValidationError(str(error)) from error
    return _MODEL.value, given


def main(arguments: list[str]) -> None:
    """Train as the flags say."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    root, workdir = common.required(common.DATA), common.required(_WORKDIR)
    common.required(_VALIDATION)
    _check_apart(root, workdir)
    config = config_from_flags()
    name, fields = model_from_flags(config)
    # What is mistyped is told before the pictures are read.
    held_out.check(_VALIDATION.value)
    if not checkpoints.exist(Path(workdir)):
        config.check_init()
    decoded = pairs.load_pairs(root, config.sampling.crop, terminal.report)
    terminal.report_passed_over(root, pairs.passed_over(root))
    training, validation = held_out.hold_out(decoded, _VALIDATION.value, terminal.report)
    if held_out.is_folder(_VALIDATION.value):
        terminal.report_passed_over(_VALIDATION.value, pairs.passed_over(_VALIDATION.value))
    terminal.show(_data_summary(training, validation))
    left_out = ("data", "workdir", "flagfile", "allow_changed_data")
    command = common.command_words("train", leave_out=left_out)
    keras_start.import_keras(start=config.strategy != "multiworker")
    from neid_tf.training.train import train

    train(
        config,
        name,
        fields,
        training,
        validation,
        workdir,
        command,
        allow_changed_data=_ALLOW_CHANGED_DATA.value,
    )


def _check_apart(root, workdir):
    """Refuse to write a run among the pictures that it is of, or beside their folders."""
    if os.path.realpath(workdir) == os.path.realpath(root):
        raise common.Failure(
            f"--workdir={workdir}: the data set is there; name a folder of its own"
        )
    held = [_VALIDATION.value] if held_out.is_folder(_VALIDATION.value) else []
    folders = [folder for data in (root, *held) for folder in pairs.folders(data)]
    common.check_apart("workdir", workdir, folders, "pictures of the data set")


def _data_summary(training: pairs.Pairs, validation: pairs.Pairs) -> str:
    """Return a line that says how many pairs there are, and which are held out."""
    counts = f"{len(training)} pairs to train on, {len(validation)} held out"
    return f"{counts}: {', '.join(validation.names)}" if len(validation) else counts
