"""Validated models: a user's mistake becomes one sentence with file, key and what was expected."""

from collections.abc import Iterator
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from mtcp.core.errors import UserError

#: Keys that have another name now: {old: new}.
RENAMED: Final = {
    "held_out": "validation_share",
    "start": "bias_initialisation",
    "cut": "shared_parameters",
}


class Model(BaseModel):
    """Immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyModel = TypeVar("AnyModel", bound=BaseModel)


def validated(model: type[AnyModel], content: Any, where: str, prefix: str = "") -> AnyModel:
    """Build `model` from `content`; raises `UserError` that names every mistake.

    `where` is what the sentence begins with, such as a file; `prefix` is put before every key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = "; ".join(_sentences(error, model, prefix))
        raise UserError(f"{where}{found}" if found.startswith(":") else f"{where}, {found}") from error


def _sentences(error: ValidationError, model: type[BaseModel], prefix: str) -> Iterator[str]:
    """One sentence for every mistake; keys that are missing at one place share theirs."""
    missing: dict[tuple[int | str, ...], list[str]] = {}
    for mistake in error.errors():
        *place, name = mistake["loc"] or ("",)
        if mistake["type"] == "missing":
            missing.setdefault(tuple(place), []).append(str(name))
    for place, names in missing.items():
        keys = ", ".join(f"'{_dotted(prefix, *place, name)}'" for name in names)
        yield f"key {keys}: required, and missing" if len(names) == 1 else f"keys {keys}: required, and missing"
    for mistake in error.errors():
        location = mistake["loc"]
        if mistake["type"] == "missing":
            continue
        if mistake["type"] == "extra_forbidden":
            known = ", ".join(_fields_at(model, location)) or "none"
            new = RENAMED.get(str(location[-1]))
            message = f"is called `{new}` now" if new else f"unknown key (known here: {known})"
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            message += f", got {_short(mistake.get('input'))}" if location else ""
        key = _dotted(prefix, *location)
        yield f"key '{key}': {message}" if key else f": {message}"


def _dotted(*parts: int | str) -> str:
    return ".".join(str(part) for part in parts if part != "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields beside the one at `location`, as far as they are models themselves."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        annotation = getattr(field, "annotation", None)
        inner = [each for each in (annotation, *get_args(annotation)) if isinstance(each, type)]
        models = [each for each in inner if issubclass(each, BaseModel)]
        if not models:
            break
        model = models[0]
    return sorted(model.model_fields)
