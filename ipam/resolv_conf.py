"""resolv.conf(5), as far as a result's dns can say it."""

from __future__ import annotations

from posix import O_CLOEXEC, O_NONBLOCK, O_RDONLY, close, fstat, open as open_fd, read, stat

from cni_core.errors import INVALID_CONFIG, CniError, strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from posix import stat_result
    from typing import Any

_LONGEST = 1 << 16
_REGULAR, _TYPE = 0o100000, 0o170000  # st_mode, inode(7)


def dns_of(path: str) -> dict[str, Any]:
    """The result's dns from a file: nameservers, domain, search, options. CniError where it cannot be read."""
    try:
        size = _size(path, stat(path))  # before it is opened: to open a device may do something already
        if not size:
            return {}
        fd = open_fd(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        try:
            text = read(fd, min(_size(path, fstat(fd)), _LONGEST)).decode("utf-8", "replace")
        finally:
            close(fd)
    except OSError as error:
        raise CniError(INVALID_CONFIG, f"{path}: {strerror(error)}", path=("ipam", "resolvConf")) from None
    return parse(text)


def _size(path: str, found: stat_result) -> int:
    """In bytes: 0 also of what the kernel makes up as it is read, such as /proc/kmsg. CniError where it is no file."""
    if found.st_mode & _TYPE != _REGULAR:
        raise CniError(INVALID_CONFIG, f"{path} is not a regular file", path=("ipam", "resolvConf"))
    return found.st_size


def parse(text: str) -> dict[str, Any]:
    """Of several domain lines the last counts; the others add up, as Go's host-local reads them."""
    nameservers: list[str] = []
    options: list[str] = []
    search: list[str] = []
    domain = ""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 2 or fields[0][0] in "#;":
            continue
        keyword, values = fields[0], fields[1:]
        if keyword == "nameserver":
            nameservers.append(values[0])
        elif keyword == "domain":
            domain = values[0]
        elif keyword == "search":
            search += values
        elif keyword == "options":
            options += values
    dns = {"nameservers": nameservers, "domain": domain, "search": search, "options": options}
    return {key: value for key, value in dns.items() if value}
