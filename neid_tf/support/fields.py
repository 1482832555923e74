"""Fields of configurations that carry their help and their bounds, for checks and for flags.

A configuration is a frozen dataclass. A field whose type is a dataclass itself is a part of it; in
flags and in saved settings the fields of all parts lie side by side.
"""

import dataclasses
import math
import numbers
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from neid_tf.support.errors import NeidError

_Config = TypeVar("_Config")


def config_field(default: Any, help: str, **rules: Any) -> Any:
    """Make a dataclass field.

    Args:
        default: its default value.
        help: one sentence, with the unit.
        **rules: ``choices``, the values allowed; ``minimum`` and ``maximum``, the least and the
            largest one; ``path``, whether it may be a path; or ``only``, another field and the
            values of that with which this one has an effect.
    """
    return dataclasses.field(default=default, metadata={"help": help} | rules)


_KINDS = {
    bool: (bool, "True or False"),
    int: (numbers.Integral, "an integer"),
    float: (numbers.Real, "a number"),
    str: (str, "a text"),
}
"""What the values of a field of each type are, and how that is said."""


def check_fields(config: Any) -> None:
    """Check a configuration against the types and the rules of its fields.

    Raises:
        NeidError: naming the first field that breaks one, and its value.
    """
    for field in dataclasses.fields(config):
        value, rules = getattr(config, field.name), field.metadata
        kind, said = _KINDS.get(field.type, (object, ""))
        # Python's booleans are integers too.
        if not isinstance(value, kind) or (isinstance(value, bool) and field.type in (int, float)):
            raise NeidError(f"{field.name} must be {said}, not {value!r}")
        if field.type is float and not math.isfinite(value):
            raise NeidError(f"{field.name} must be a finite number, not {value}")
        if "choices" in rules and value not in rules["choices"]:
            choices = ", ".join(rules["choices"])
            raise NeidError(f"{field.name} must be one of {choices}, not {value!r}")
        if "minimum" in rules and not value >= rules["minimum"]:
            raise NeidError(f"{field.name} must be at least {rules['minimum']}, not {value}")
        if "maximum" in rules and not value <= rules["maximum"]:
            raise NeidError(f"{field.name} must be at most {rules['maximum']}, not {value}")
        if "only" in rules and value != field.default:
            other, values = rules["only"]
            if getattr(config, other) not in values:
                now = f"{other}={getattr(config, other)}"
                raise NeidError(f"{field.name}={value} has no effect with {now}")


def ineffective(config_class: type, values: Mapping[str, Any]) -> set[str]:
    """Return the names of the fields that have no effect beside the others' values.

    Args:
        config_class: a configuration.
        values: of its fields, those of its parts too, by name; what is left out has its default.
    """
    leaves = {field.name: field for field in leaf_fields(config_class)}
    found: set[str] = set()
    for name, field in leaves.items():  # A field stands behind the one that it depends on.
        if "only" in field.metadata:
            other, among = field.metadata["only"]
            default = leaves[other].default
            if (default if other in found else values.get(other, default)) not in among:
                found.add(name)
    return found


def leaf_fields(config_class: type) -> Iterator[dataclasses.Field]:
    """Yield the fields of a configuration, those of its parts in the parts' place."""
    for field in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(field.type):
            yield from leaf_fields(field.type)
        else:
            yield field


def flatten(config: Any) -> dict[str, Any]:
    """Return the values of a configuration and of its parts, by the names of their fields."""
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values |= flatten(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def unflatten(config_class: type[_Config], values: Mapping[str, Any]) -> _Config:
    """Make a configuration with its parts from values by the names of their fields.

    Args:
        config_class: the dataclass to make.
        values: what differs from the defaults; names of no field are left alone.

    Raises:
        NeidError: for a value that breaks its field's rules.
    """
    given = {}
    for field in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(field.type):
            given[field.name] = unflatten(field.type, values)
        elif field.name in values:
            given[field.name] = values[field.name]
    return config_class(**given)
