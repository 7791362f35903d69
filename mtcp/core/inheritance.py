"""`extends: NAME`: a configuration entry that states only its differences from another one.

Mappings are merged key by key, everything else is replaced, and null removes an inherited key. A plug-in or an encoder
with another `name` or `model` replaces the inherited one entirely, since it has other parameters. `label` and
`description` are never inherited.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mtcp.core.errors import UserError, alternatives
from mtcp.core.files import line_of
from mtcp.core.validation import fault

Keys = tuple[str, ...]
_OWN: Final = ("label", "description")
_IDENTITY: Final = ("name", "model")


@dataclass(frozen=True)
class Entry:
    """A mapping in a YAML file, under the keys `prefix`."""

    content: Mapping[str, Any]
    path: Path
    prefix: Keys = ()


@dataclass(frozen=True)
class Resolved:
    """An entry with everything that it inherits, and the entry that each value comes from, by the value's keys."""

    content: dict[str, Any]
    origins: dict[Keys, Entry] = field(repr=False)
    #: The names that the entry extends, the nearest first.
    bases: tuple[str, ...] = ()

    def origin(self, keys: Keys, root: Path) -> str:
        """Where the value at `keys` was written, as "FILE:LINE"; "default" if nowhere."""
        if (entry := self._entry(keys)) is None:
            return "default"
        line = line_of(entry.path, (*entry.prefix, *keys))
        path = entry.path.relative_to(root) if entry.path.is_relative_to(root) else entry.path
        return f"{path}:{line}" if line else str(path)

    def fault(self, keys: Keys, message: str) -> UserError:
        """Return the error for a mistake at `keys`, with the file and line where they are written, if anywhere."""
        entry = self._entry(keys)
        return fault(entry.path, (*entry.prefix, *keys), message) if entry else UserError(message)

    def _entry(self, keys: Keys) -> Entry | None:
        """The entry that the value at `keys` comes from; of a mapping written in parts, the nearest one."""
        places = (self.origins.get(keys[:length]) for length in range(len(keys), 0, -1))
        inside = [entry for place, entry in self.origins.items() if place[: len(keys)] == keys]
        return next((entry for entry in (*places, *reversed(inside)) if entry), None)


def resolved(name: str, entry_of: Callable[[str], Entry | None], known: Callable[[], Collection[str]]) -> Resolved:
    """Return entry `name` with everything that it inherits; raises `UserError` for an unknown base or a cycle.

    `entry_of(name)` is the entry of that name, or None if there is none; `known()` are the names that have one.
    """
    chain: list[tuple[str, Entry]] = []
    wanted: Any = name
    while wanted is not None:
        if not isinstance(wanted, str):
            _, last = chain[-1]
            raise fault(last.path, (*last.prefix, "extends"), f"expected the name of one entry, got {wanted!r}")
        entry = entry_of(wanted)
        if entry is None or wanted in (each for each, _ in chain):
            _, last = chain[-1]
            way = "" if wanted == chain[-1][0] else ", by way of others"
            why = (
                f"is not defined{alternatives(wanted, {*known()} - {name})}"
                if entry is None
                else f"extends itself{way}"
            )
            raise fault(last.path, (*last.prefix, "extends"), f"'{wanted}' {why}")
        chain.append((wanted, entry))
        wanted = entry.content.get("extends")
    found = Resolved({}, {}, tuple(each for each, _ in chain[1:]))
    for _, entry in reversed(chain):
        for key in _OWN:
            found.content.pop(key, None)
        _merge(found, entry, (), found.content, entry.content)
    return found


def _merge(found: Resolved, entry: Entry, keys: Keys, into: dict[str, Any], own: Mapping[str, Any]) -> None:
    for key, value in own.items():
        place = (*keys, str(key))
        if place == ("extends",):
            continue
        inherited = into.get(key)
        if isinstance(value, Mapping) and isinstance(inherited, dict) and not _another(inherited, value):
            _merge(found, entry, place, inherited, value)
            continue
        for known in [known for known in found.origins if known[: len(place)] == place]:
            del found.origins[known]
        if value is None and key in into:
            del into[key]
            continue
        into[key] = _copied(value)
        for leaf in _leaves(place, value):
            found.origins[leaf] = entry


def _another(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether `own` has a `name` or `model` that differs from the inherited one."""
    return any(key in own and own[key] != inherited.get(key) for key in _IDENTITY)


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def _leaves(keys: Keys, value: Any) -> Iterator[Keys]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves((*keys, str(key)), inner)
    else:
        yield keys
