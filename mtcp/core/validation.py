"""Validated models: a user's mistake is reported in one sentence with file, key and what was expected."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from mtcp.core.errors import UserError
from mtcp.core.files import line_of
from mtcp.core.names import name_fault

#: Renamed keys: {old: new}.
RENAMED: Final = {
    "held_out": "validation_share",
    "start": "bias_initialisation",
    "cut": "shared_parameters",
}


class Model(BaseModel):
    """An immutable model that refuses unknown keys, infinity and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
        location = mistake["loc"]
        if mistake["type"] == "missing":
            continue
        if mistake["type"] == "extra_forbidden":
            known = list(_fields_at(model, location))
            new = RENAMED.get(str(location[-1]))
            message = f"unknown key (known here: {', '.join(known) or 'none'})"
            if new in known:
                message = f"is called `{new}` now"
        elif mistake["type"] == "string_pattern_mismatch":  # the one pattern is that of names
            message = name_fault(mistake["input"]) or mistake["msg"]
        elif mistake["type"] in ("model_type", "dict_type"):
            message = f"expected a mapping of keys to values, got {_short(mistake.get('input'))}"
        elif mistake["type"] in ("too_short", "string_too_short"):  # the one limit is that of nothing
            part = "character" if mistake["type"] == "string_too_short" else "entry"
            message = f"empty, and needs at least one {part}"
        elif mistake["type"] == "too_long":
            limits = mistake.get("ctx", {})
            message = f"has {limits['actual_length']} entries, and at most {limits['max_length']} are expected"
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            message += f", got {_short(mistake.get('input'))}" if location else ""
        place = (*prefix, *location)
        yield f"{_line(where, place)}{_key(place)}: {message}" if place else f": {message}"


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


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
