"""Fields of configurations that carry their help and their bounds, for checks and for flags."""

import dataclasses

from neid_tf.support.errors import NeidError


def config_field(default, help, **rules):
    """Make a dataclass field.

    Args:
        default: its default value.
        help: one sentence, with the unit.
        **rules: ``choices``, the values allowed, or ``minimum``, the least one.
    """
    return dataclasses.field(default=default, metadata={"help": help} | rules)


def check_fields(config):
    """Check a configuration against the rules of its fields.

    Raises:
        ValueError: naming the first field that breaks one, and its value.
    """
    for field in dataclasses.fields(config):
        value, rules = getattr(config, field.name), field.metadata
        if "choices" in rules and value not in rules["choices"]:
            choices = ", ".join(rules["choices"])
            raise NeidError(f"{field.name} must be one of {choices}, not {value!r}")
        if "minimum" in rules and not value >= rules["minimum"]:
            raise NeidError(f"{field.name} must be at least {rules['minimum']}, not {value}")
