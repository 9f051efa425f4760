"""The launcher's import system: builtin and frozen modules, once each, and nothing else.

It takes the place of importlib._bootstrap, whose paths, hooks, specs and locks are a fifth of what a VERSION executes.
These are the functions that the interpreter calls there, as it calls them (Python/import.c, and init_importlib in
Python/pylifecycle.c).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _imp
    import sys
    from collections.abc import Callable, Iterable
    from types import ModuleType


def _install(sys_module: ModuleType, imp_module: ModuleType) -> None:
    globals().update(sys=sys_module, _imp=imp_module)


def _find_and_load(name: str, import_: Callable[[str], ModuleType]) -> ModuleType:
    parent, _, child = name.rpartition(".")
    if parent and parent not in sys.modules:
        import_(parent)
        if name in sys.modules:
            return sys.modules[name]
    is_builtin = _imp.is_builtin(name)
    if is_builtin:
        spec = type(sys)(name)  # all that is asked of it is a name
        spec.__dict__["name"] = name
        module = _imp.create_builtin(spec)  # type: ignore[arg-type]
    elif _imp.is_frozen(name):
        module = type(sys)(name)
    else:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    # Packages have one, but to find none the interpreter makes and drops an AttributeError for each `from`.
    module.__path__ = []
    sys.modules[name] = module
    try:
        if is_builtin:
            _imp.exec_builtin(module)
        else:
            exec(_imp.get_frozen_object(name), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def _handle_fromlist(module: ModuleType, names: Iterable[str], import_: Callable[[str], ModuleType]) -> ModuleType:
    """`from package import names`: those that are no attributes yet are modules."""
    attributes = module.__dict__  # quicker than hasattr, and there are hundreds
    for name in names:
        if name not in attributes:
            import_(f"{module.__name__}.{name}")
    return module
