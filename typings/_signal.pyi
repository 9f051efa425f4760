"""The part of the standard library's signal that is compiled into the interpreter."""

from collections.abc import Callable
from types import FrameType

SIGHUP: int
SIGINT: int
SIGTERM: int
SIG_DFL: int
SIG_IGN: int

def default_int_handler(signalnum: int, frame: FrameType | None, /) -> object: ...
def getsignal(signalnum: int, /) -> object: ...
def signal(signalnum: int, handler: int | Callable[[int, FrameType | None], object], /) -> object: ...
