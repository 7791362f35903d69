"""Validated models: a user's mistake is reported in one sentence with file, key and what was expected."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticKnownError

from mtcp.core.errors import UserError, alternatives, nearest
from mtcp.core.files import line_of
from mtcp.core.names import name_fault

#: Renamed keys: {old: new}.
RENAMED: Final = {
    "held_out": "validation_share",
    "start": "bias_initialisation",
    "cut": "shared_parameters",
}
#: What was expected, by pydantic's type of the mistake.
_EXPECTED: Final = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("model_type", "dict_type"), "a mapping of keys to values"),
    "string_type": "text",
    "finite_number": "a finite number",
}


class Model(BaseModel):
    """An immutable model that refuses unknown keys, infinity and NaN, and true and false for numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `yes` and `no`, which pydantic would take for 1 and 0."""
        if isinstance(value, bool):
            kinds = {*_types_in(cls.model_fields[info.field_name or ""].annotation)}
            if bool not in kinds and kinds & {int, float}:
                raise PydanticKnownError("float_type" if float in kinds else "int_type")
        return value


AnyModel = TypeVar("AnyModel", bound=BaseModel)


def validated(model: type[AnyModel], content: Any, where: str | Path, *prefix: str | int) -> AnyModel:
    """Build `model` from `content`; raises a `UserError` that lists every mistake.

    The message begins with `where`. If `where` is a path, it is the YAML file that has `content` at the keys `prefix`,
    and mistakes are reported with their lines.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = "; ".join(_sentences(error, model, where, prefix))
        raise UserError(f"{where}{found}" if found.startswith(":") else f"{where}, {found}") from error


def fault(path: Path, keys: Sequence[str | int], message: str) -> UserError:
    """Return the error for a mistake at `keys` of a YAML file, with file and line."""
    return UserError(f"{path}, {_line(path, keys)}{_key(keys)}: {message}")


def _sentences(
    error: ValidationError, model: type[BaseModel], where: str | Path, prefix: tuple[str | int, ...]
) -> Iterator[str]:
    """One sentence per mistake; keys missing in the same mapping share one."""
    missing: dict[tuple[int | str, ...], list[str]] = {}
    for mistake in error.errors():
        *place, name = mistake["loc"] or ("",)
        if mistake["type"] == "missing":
            missing.setdefault((*prefix, *place), []).append(str(name))
    for place, names in missing.items():
        yield f"{_line(where, place)}{_key(*((*place, name) for name in names))}: required, and missing"
    for mistake in error.errors():
        if mistake["type"] != "missing":
            place, message = (*prefix, *mistake["loc"]), explained(mistake, model)
            yield f"{_line(where, place)}{_key(place)}: {message}" if place else f": {message}"


def explained(mistake: ErrorDetails, model: type[BaseModel]) -> str:
    """Say what is wrong with one value of `model`, and what was expected."""
    location, kind, value = mistake["loc"], mistake["type"], mistake.get("input")
    if kind == "extra_forbidden":
        known = list(_fields_at(model, location))
        new = RENAMED.get(str(location[-1]))
        return f"is called `{new}` now" if new in known else f"unknown key{alternatives(str(location[-1]), known)}"
    if kind == "string_pattern_mismatch":  # the one pattern is that of names
        return name_fault(value) or mistake["msg"]
    if kind in ("too_short", "string_too_short"):  # the one limit is that of nothing
        return f"empty, and needs at least one {'character' if kind == 'string_too_short' else 'entry'}"
    if kind == "too_long":
        limits = mistake.get("ctx", {})
        return f"has {limits['actual_length']} entries, and at most {limits['max_length']} are expected"
    if kind == "literal_error":
        return _not_among(value, mistake.get("ctx", {})["expected"])
    if kind in ("list_type", "tuple_type"):
        example = f"[{value}]" if isinstance(value, str) else "[0, 1]"
        return f"expected a list such as {example}, got {_short(value)}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {_short(value)}"
    message = mistake["msg"].removeprefix("Value error, ").replace("Input should be", "expected a value")
    return message + (f", got {_short(value)}" if location else "")


def _not_among(value: Any, expected: str) -> str:
    """The message on a value that is none of those of a `Literal`, which pydantic lists as "'a', 'b' or 'c'"."""
    known = [each.strip("'") for each in re.split(r", | or ", expected)]
    close = nearest(str(value), known)
    said = f"expected one of {', '.join(known)}; got {_short(value)}"
    return f"{said} (did you mean '{close}'?)" if close else said


def _line(where: str | Path, keys: Sequence[str | int]) -> str:
    line = line_of(where, keys) if isinstance(where, Path) else None
    return f"line {line}, " if line else ""


def _key(*keys: Sequence[str | int]) -> str:
    """Keys as text: "key 'a.b'", or "entry 3, keys 'a', 'b'" where the file is a list."""
    entry = f"entry {keys[0][0] + 1}" if isinstance(keys[0][0], int) else ""
    names = [".".join(map(str, each[1:] if entry else each)) for each in keys]
    quoted = ", ".join(f"'{name}'" for name in names if name)
    return ", ".join(part for part in (entry, f"key{'s' if len(names) > 1 else ''} {quoted}" if quoted else "") if part)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that are allowed beside the one at `location`."""
    models = [model]
    for part in location[:-1]:
        field = models[0].model_fields.get(str(part))
        further = models[0].__annotations__.get("__pydantic_extra__")
        inner = list(_models_in(field.annotation if field else further))
        models = inner or models
        if not inner:
            break
    return sorted({name for each in models for name in each.model_fields})


def _types_in(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows for the value itself."""
    if isinstance(annotation, UnionType) or get_origin(annotation) in (Union, Annotated):
        for argument in get_args(annotation):
            yield from _types_in(argument)
    else:
        yield annotation


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
