"""The part of the standard library's signal that is compiled into the interpreter."""

from collections.abc import Callable, Iterable
from types import FrameType

SIGHUP: int
SIGINT: int
SIGKILL: int
SIGPIPE: int
SIGTERM: int
SIGXFSZ: int
SIGCHLD: int
SIG_BLOCK: int
SIG_DFL: int
SIG_IGN: int
SIG_SETMASK: int

def default_int_handler(signalnum: int, frame: FrameType | None, /) -> object: ...
def getsignal(signalnum: int, /) -> object: ...
def pthread_sigmask(how: int, mask: Iterable[int], /) -> set[int]: ...
def signal(signalnum: int, handler: int | Callable[[int, FrameType | None], object], /) -> object: ...
