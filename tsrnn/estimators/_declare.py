"""How parameters are declared: one `param(...)` line gives default, check, documentation and place in the signature.

scikit-learn wants every parameter in the signature of ``__init__``.  Ten classes that share fifty of them would be ten copies
of one list; here the list is declared once, and `Parameterised` makes each subclass its own ``__init__``, constraints and
docstring from it, as `dataclasses` does.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_parameter_constraints


class Parameter(NamedTuple):
    """A parameter of an estimator."""

    default: Any
    constraints: list
    doc: str

    @property
    def type_doc(self) -> str:
        """What numpydoc shows behind the name: the constraints in words, and the default."""
        return f"{' or '.join(_in_words(constraint) for constraint in self.constraints)}, default={self.default!r}"


def _in_words(constraint: Any) -> str:
    special = {"boolean": "bool", "verbose": "bool or int", "random_state": "int or RandomState", callable: "callable"}
    if isinstance(constraint, StrOptions):
        return "{" + ", ".join(map(repr, sorted(constraint.options))) + "}"
    if isinstance(constraint, Options):
        return " or ".join(getattr(option, "__name__", str(option)) for option in constraint.options)
    if isinstance(constraint, type):
        return constraint.__name__
    if isinstance(constraint, Interval):
        return str(constraint).removeprefix("a ").removeprefix("an ")
    return special.get(constraint, str(constraint))


def param(default: Any, constraints: list, doc: str) -> Any:
    """Declares a parameter in the body of a `Parameterised` class.

    Parameters
    ----------
    default : object
        Immutable, as every default in a signature.
    constraints : list
        What scikit-learn's ``_parameter_constraints`` take; one of them has to hold.
    doc : str
        For the docstring.
    """
    return Parameter(default, constraints, doc)


class Parameterised(BaseEstimator):
    """Base of estimators with declared parameters.

    A subclass may change the declaration: ``class Net(Base, without=("loss",), fixed={"cell": "gru"}, defaults={"tol": 0})``
    drops parameters, drops one and fixes its value, or changes defaults.
    """

    _parameters: dict[str, Parameter] = {}
    _parameter_constraints: dict[str, list] = {}
    _positional: tuple[str, ...] = ()  # all others are keyword-only
    _attributes_doc = ""  # takes the place of {attributes} in docstrings

    if TYPE_CHECKING:
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __init_subclass__(cls, *, without: Iterable[str] = (), fixed: Mapping[str, Any] | None = None,
                          defaults: Mapping[str, Any] | None = None, **kwargs):
        fixed = fixed or {}
        declared = {name: value for name, value in vars(cls).items() if isinstance(value, Parameter)}
        parameters = {**cls._parameters, **declared}
        parameters = {name: parameters[name] for name in sorted(parameters, key=lambda name: name not in cls._positional)}
        for name in [*without, *fixed]:
            del parameters[name]
        for name, default in (defaults or {}).items():
            parameters[name] = parameters[name]._replace(default=default)
        if parameters != cls._parameters or "_positional" in vars(cls):
            cls._parameters = parameters
            cls._parameter_constraints = {name: p.constraints for name, p in parameters.items()}
            cls.__init__ = _make_init(cls, parameters)  # type: ignore[method-assign]
        for name in declared:
            delattr(cls, name)
        for name, value in fixed.items():
            setattr(cls, name, value)
        if parameters and "__init__" in vars(cls):
            cls.__doc__ = _document(cls.__doc__ or "", parameters, cls._attributes_doc)
        super().__init_subclass__(**kwargs)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """As scikit-learn has it, without taking the signature apart for each clone."""
        names = getattr(cls.__init__, "parameter_names", None)
        return super()._get_param_names() if names is None else list(names)

    def _validate_params(self) -> None:
        """Checks each parameter by itself; a default that stands as it was declared is valid (a test checks them all)."""
        declared, constraints = self._parameters, self._parameter_constraints
        changed = {name: value for name, value in self.get_params(deep=False).items()
                   if name not in declared or value is not declared[name].default
                   or constraints.get(name) is not declared[name].constraints}
        validate_parameter_constraints(constraints, changed, type(self).__name__)


def _make_init(cls: type[Parameterised], parameters: dict[str, Parameter]):
    """An ``__init__`` that stores its arguments untouched; `inspect.signature` shows all of them."""
    kinds = {name: inspect.Parameter.POSITIONAL_OR_KEYWORD if name in cls._positional else inspect.Parameter.KEYWORD_ONLY
             for name in parameters}
    signature = inspect.Signature([
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *(inspect.Parameter(name, kinds[name], default=p.default) for name, p in parameters.items())])

    defaults = {name: p.default for name, p in parameters.items()}

    def __init__(self, *args, **kwargs):
        if args or not kwargs.keys() <= defaults.keys():
            try:
                kwargs = signature.bind(self, *args, **kwargs).arguments
            except TypeError as error:
                raise TypeError(f"{type(self).__name__}.__init__() {error}") from None
        for name, default in defaults.items():
            setattr(self, name, kwargs.get(name, default))

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    __init__.__module__ = cls.__module__
    __init__.__doc__ = None
    __init__.parameter_names = sorted(parameters)  # type: ignore[attr-defined]
    return __init__


def _document(doc: str, parameters: dict[str, Parameter], attributes: str) -> str:
    """`doc` with its lines ``{parameters}`` and ``{attributes}`` replaced by numpydoc sections."""
    lines = ["Parameters", "----------"]
    for name, p in parameters.items():
        lines.append(f"{name} : {p.type_doc}")
        lines += textwrap.wrap(p.doc, 110, initial_indent="    ", subsequent_indent="    ")
    return inspect.cleandoc(doc).replace("{parameters}", "\n".join(lines)).replace("{attributes}", attributes)
