"""Frozen records for the programs that start anew for every message.

`Record` is `typing.NamedTuple` to a type checker and behaves like it, but importing it does not
import `typing`, `collections` and `re`, which would cost such a program more than its work. Its
modules import what only annotations need under `if TYPE_CHECKING:`, for the same reason.
"""

from __future__ import annotations

from _operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from typing import NamedTuple as Record
else:

    class _RecordMaker(type):
        def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> type:
            names = tuple(space.get("__annotations__", ()))
            if names:
                defaults = {field: space[field] for field in names if field in space}
                space.update({field: property(itemgetter(at)) for at, field in enumerate(names)})
                space["__new__"] = _constructor(name, names, defaults)
                space["_fields"] = names
            space.setdefault("__slots__", ())
            return type.__new__(cls, name, bases, space)

    def _constructor(name: str, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
        count = len(names)
        new = tuple.__new__

        def make(cls: type, *values: Any, **named: Any) -> Any:
            if len(values) == count and not named:
                return new(cls, values)
            return new(cls, _complete(name, names, defaults, (values, named)))

        return make

    def _complete(
        name: str, names: tuple[str, ...], defaults: dict[str, Any], given: tuple[Any, Any]
    ) -> list[Any]:
        values, named = given
        if len(values) > len(names):
            raise TypeError(f"{name} takes at most {len(names)} values")
        found = {**defaults, **named}
        rest = names[len(values) :]
        wrong = (set(named) - set(rest)) or (set(rest) - set(found))
        if wrong:
            raise TypeError(f"{name}: unexpected, repeated or missing: {', '.join(sorted(wrong))}")
        return [*values, *[found[field] for field in rest]]

    class Record(tuple, metaclass=_RecordMaker):  # noqa: SLOT001 - the metaclass sets them
        """A frozen record: fields by annotation, defaults by assignment."""

        _fields = ()

        def __repr__(self) -> str:
            pairs = zip(self._fields, self, strict=True)
            return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in pairs)})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def _replace(self, **changes: Any) -> Any:
            return type(self)(**{**dict(zip(self._fields, self, strict=True)), **changes})


__all__ = ["Record"]
