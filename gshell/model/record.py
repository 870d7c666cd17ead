"""Named tuples without the price of :mod:`typing`: importing that costs a client more than its
handshake.

A type checker sees ``typing.NamedTuple``; at run time the same class statement makes a tuple with
named fields, defaults, ``_replace`` and ``_asdict``.
"""

from __future__ import annotations

__all__ = ["Record"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    from _collections import _tuplegetter

    class _Maker(type):
        """Turns the annotations of a class statement into the fields of a tuple."""

        def __new__(mcs, name, bases, namespace):
            if not bases:
                return super().__new__(mcs, name, bases, namespace)
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            for number, field in enumerate(fields):
                namespace[field] = _tuplegetter(number, field)
            namespace.update(
                __slots__=(),
                _fields=fields,
                _field_defaults=defaults,
                __match_args__=fields,
                __new__=_new,
            )
            for method in (_asdict, _replace, __repr__, __getnewargs__):
                namespace.setdefault(method.__name__, method)
            return type.__new__(type, name, (tuple,), namespace)

    _tuple = tuple.__new__

    def _new(cls, *values, **named):
        if not named and len(values) == len(cls._fields):
            return _tuple(cls, values)
        rest = cls._fields[len(values) :]
        if len(values) > len(cls._fields) or any(field not in rest for field in named):
            raise TypeError(f"{cls.__name__}: {len(values)} values and {sorted(named)} do not fit")
        defaults = cls._field_defaults
        try:
            more = tuple([named[field] if field in named else defaults[field] for field in rest])
        except KeyError as missing:
            raise TypeError(f"{cls.__name__}: no value for {missing}") from None
        return _tuple(cls, values + more)

    def _asdict(self):
        return dict(zip(self._fields, self))

    def _replace(self, **named):
        values = dict(zip(self._fields, self))
        if not named.keys() <= values.keys():
            raise TypeError(
                f"{type(self).__name__}: unknown fields {sorted(named.keys() - values.keys())}"
            )
        values.update(named)
        return _tuple(type(self), values.values())

    def __repr__(self):
        inner = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self))
        return f"{type(self).__name__}({inner})"

    def __getnewargs__(self):
        return tuple(self)

    class Record(metaclass=_Maker):
        pass
