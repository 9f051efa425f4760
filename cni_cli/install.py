"""`install` and `uninstall`: the executables into a runtime's directory, from the build that this program is of.

A build is copied whole into a directory of its own, BUILD-DIGEST, and the names that runtimes call are links into it:

    cni-macvlan-py -> cni-py-4f1c2a90b3de/cni-macvlan-py
    cni-py-4f1c2a90b3de/{cni-macvlan-py,cni-ipvlan-py,_internal}

So an upgrade is the renaming of a link: a call is answered by the old build or the new one, never by parts of both. The
build before stays for the calls that still run in it, and goes with the next upgrade.

To install never leaves an attachment without its plugin: names stay, and what Go's plugins attached ours take back. To
uninstall may, and is refused then.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cni_cli import aside, podman, prefix
from cni_cli.attached import recorded
from cni_cli.conflists import add_bin_directory, add_directory, networks_in
from cni_cli.errors import CommandError
from cni_cli.leases import is_of, leases_in
from cni_cli.runtimes import Unreadable, directory_for, runtimes
from cni_core import __version__
from cni_core.errors import IN_USE
from cni_core.names import printable
from ipam.store import DEFAULT_DATA_DIR

PROGRAMS = ("cni-macvlan-py", "cni-ipvlan-py")
INTERNAL = "_internal"
ALIASES = {"macvlan": "cni-macvlan-py", "ipvlan": "cni-ipvlan-py"}
ALIASES |= {"host-local": "cni-macvlan-py", "lan-local": "cni-macvlan-py"}
BUILD = "cni-py-"


def add_to(commands: Any, kind: str) -> None:
    for name, run, about in (
        ("install", install, "put the plugins where runtimes look for them"),
        ("uninstall", uninstall, "remove them from there"),
    ):
        parser = commands.add_parser(name, help=about, description=run.__doc__)
        add_bin_directory(parser)
        parser.add_argument(
            "--prefix",
            default="/usr/local",
            metavar="DIRECTORY",
            help="where people find the commands, in bin, and their manuals (default: %(default)s; '' for none)",
        )
        parser.add_argument(
            "--destdir", default="", metavar="DIRECTORY", help="stands before all these, for those who make packages"
        )
        parser.add_argument(
            "--netavark",
            nargs="?",
            default="",
            const=podman.PLUGIN_DIRECTORY,
            metavar="DIRECTORY",
            help="also where podman 5 looks, or in DIRECTORY (%(const)s)",
        )
        if name == "install":
            parser.add_argument(
                "--detect",
                action="store_true",
                help="instead of --bin-dir: where the containerd and CRI-O of this node look, by their configuration",
            )
            then = parser.add_mutually_exclusive_group()
            then.add_argument(
                "--stay", action="store_true", help="and wait to be ended, as a DaemonSet's container must"
            )
            then.add_argument(
                "--check",
                action="store_true",
                help="change nothing; tell what is installed; fail where it is not this build",
            )
            names = parser.add_mutually_exclusive_group()
            also = f"also as {', '.join(ALIASES)}"
            names.add_argument("--aliases", action="store_true", help=f"{also}, where no other plugin has them")
            names.add_argument("--replace", action="store_true", help=f"{also}; other plugins that have them go aside")
        else:
            add_directory(parser)
            parser.add_argument("--force", action="store_true", help="although containers are attached by them")
        parser.set_defaults(run=run)


def install(options: argparse.Namespace) -> int:
    """Where one directory is named, or (--detect) wherever the node's runtimes look."""
    directories = _detected(options) if options.detect else [options.bin_dir]
    if options.check:
        return _check(options, directories)
    for directory in directories:
        options.bin_dir = directory
        _install(options)
    if options.stay:
        _wait()
    return 0


def _install(options: argparse.Namespace) -> None:
    """Copies the build that this program is of, and turns the names to it in one step each."""
    source, target = _own_build(), _below(options, options.bin_dir)
    if target.resolve() == source:
        raise CommandError(f"{target} is where this program is already")
    target.mkdir(parents=True, exist_ok=True)
    before = _current(target)
    build = _copied(source, target)
    for name in PROGRAMS:
        _point(target / name, f"{build}/{name}")
    for alias, name in ALIASES.items() if options.aliases or options.replace else ():
        if _is_anothers(target / alias):
            if not options.replace:
                print(f"{printable(str(target / alias))} is another plugin's and stays.", file=sys.stderr)
                continue
            aside.put(target, alias)
        _point(target / alias, name)
    for old in _builds(target):
        if old.name not in (build, before):
            shutil.rmtree(old)
    if options.prefix:
        prefix.place(target / build, _below(options, options.prefix), _commands(options))
    if options.netavark:
        podman.place(_below(options, options.netavark), _commands(options))
    print(f"installed in {printable(str(target))}", flush=True)


def _detected(options: argparse.Namespace) -> list[str]:
    """The directory of each runtime of the node, whose files are below --destdir. CommandError without any."""
    found: dict[str, None] = {}
    for runtime in runtimes(options.destdir):
        if isinstance(runtime, Unreadable):
            raise CommandError(f"{runtime.name}: {runtime.file}: {runtime.why}", "Name the directory: --bin-dir")
        found[directory_for(runtime, options.destdir)] = None
        print(f"{runtime.name} ({runtime.file}) looks in {', '.join(runtime.bin_dirs)}")
    if not found:
        raise CommandError("this node has no containerd and no CRI-O that runs pods", "Name the directory: --bin-dir")
    return list(found)


def _check(options: argparse.Namespace, directories: list[str]) -> int:
    """0 where every name that install would give leads to this build, whole; says what runtimes call in either case."""
    build, wrong = f"{BUILD}{_digest(_own_build())}", 0
    for directory in directories:
        target = _below(options, directory)
        names = {name: f"{build}/{name}" for name in PROGRAMS}
        if options.replace or options.aliases:  # with --aliases, other plugins' names are theirs
            names |= {
                alias: name for alias, name in ALIASES.items() if options.replace or not _is_anothers(target / alias)
            }
        lost = [
            name for name, to in names.items() if not (target / name).is_symlink() or os.readlink(target / name) != to
        ]
        found = _current(target)
        if lost:
            others = f"; it has {found}" if found and found != build else ""
            told = f"{', '.join(lost)} of {target} is not of {build}{others}"
        elif _digest(target / build) != build.removeprefix(BUILD):
            told = f"{target / build} is not as it was installed: somebody has written into it"
        else:
            print(printable(f"{build} ({__version__}) is installed in {target}: {', '.join(names)}"))
            continue
        wrong += 1
        print(printable(told), file=sys.stderr)
    return int(wrong > 0)


def _wait() -> None:
    """Until SIGTERM or SIGINT, which the first process of a container gets only if it asks for them."""
    ended = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ended)
    signal.sigwait(ended)


def uninstall(options: argparse.Namespace) -> int:
    """Removes what install put there, gives other plugins their names back, and changes nothing else. Refused while a
    container is attached by what would go."""
    target = _below(options, options.bin_dir)
    current = _current(target)
    if not current:
        raise CommandError(f"{target} has no plugins of ours")
    ours = [name for name in (*ALIASES, *PROGRAMS) if (target / name).is_symlink() and not _is_anothers(target / name)]
    back = [name for name in aside.names(target) if name in ours]
    if not options.destdir and not options.force:
        for left in _left_without({*ours} - {*back}, options.dir):
            raise left
    if options.prefix:
        prefix.remove(target / current, _below(options, options.prefix), _commands(options))
    for link in podman.placed(_below(options, options.netavark or podman.PLUGIN_DIRECTORY), _commands(options)):
        link.unlink()
    for name in ours:
        if name in back:
            aside.give_back(target, name)
        else:
            (target / name).unlink()
    for name in aside.names(target):
        print(f"{target / name} is another plugin's; the one before stays in {aside.DIRECTORY}.", file=sys.stderr)
    for build in _builds(target):
        shutil.rmtree(build)
    print(f"removed from {printable(str(target))}")
    return 0


def _below(options: argparse.Namespace, directory: str) -> Path:
    """Where a directory of the node is now."""
    return Path(f"{options.destdir}/{directory}") if options.destdir else Path(directory).absolute()


def _commands(options: argparse.Namespace) -> dict[str, str]:
    """The path of each program, on the node; with --destdir the directories are absolute."""
    directory = os.path.abspath(options.bin_dir)
    return {name: f"{directory}/{name}" for name in PROGRAMS}


def _left_without(names: set[str], directory: str) -> Iterator[CommandError]:
    """The attachments that need a plugin of these names, which would be none's. directory: of networks.

    Of a network whose configuration is not there (Multus has it elsewhere) nobody knows by which name it is called.
    """
    mend = "Remove the container first; or, if its DEL need not work, --force."
    types = {network.name: network.config["type"] for network in networks_in(directory)}
    there = recorded()
    for attachment, record in there:
        kind = types.get(record.network, "")
        if kind in names:
            yield CommandError(f"{attachment} of network {record.network} would be left without {kind}", mend, IN_USE)
        elif not kind:
            known = f"which has no configuration in {directory}, may be left without its plugin"
            yield CommandError(f"{attachment} of network {record.network}, {known}", mend, IN_USE)
    # Other plugins, such as bridge, call it, and nobody records for whom.
    for lease in leases_in(DEFAULT_DATA_DIR) if "host-local" in names else ():
        if lease.boot == "this" and not any(is_of(lease, attachment) for attachment, _ in there):
            holder = f"{lease.container}, which has {lease.address} of network {lease.network},"
            yield CommandError(f"{holder} may be left without host-local", mend, IN_USE)


def _own_build() -> Path:
    """The directory that holds the executables of which this is one. CommandError where they are not together."""
    executable = Path(sys.executable).resolve()
    directory = executable.parent.parent if executable.parent.name == INTERNAL else executable.parent
    if not all((directory / name).exists() for name in (*PROGRAMS, INTERNAL)):
        raise CommandError(f"{directory} is not a whole build", "Unpack the release, and call install from there.")
    return directory


def _builds(target: Path) -> list[Path]:
    """Those that install made: a release that somebody unpacked there has another name."""
    return [path for path in target.glob(f"{BUILD}*") if re.fullmatch("[0-9a-f]{12}", path.name.removeprefix(BUILD))]


def _current(target: Path) -> str:
    """The build that the names of a directory lead to; empty if it has none."""
    link = target / PROGRAMS[0]
    return os.readlink(link).partition("/")[0] if link.is_symlink() else ""


def _copied(source: Path, target: Path) -> str:
    """The name of the build's directory, which is made whole under another name first. One that is there, and that
    somebody has written into (`cp macvlan /opt/cni/bin` follows a link), is mended file by file: calls go on."""
    digest = _digest(source)
    name = f"{BUILD}{digest}"
    unfinished = target / f".{name}.{os.getpid()}"
    if (target / name).exists():
        for path in _files(source) if _digest(target / name) != digest else ():
            _mended(source / path, target / name / path)
    else:
        try:
            unfinished.mkdir()
            for program in PROGRAMS:
                _copy_program(source, program, unfinished)
            shutil.copytree(source / INTERNAL, unfinished / INTERNAL, symlinks=True)
            unfinished.rename(target / name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return name


def _copy_program(source: Path, program: str, target: Path) -> None:
    """The launchers are one file by two names, and stay that."""
    first = PROGRAMS[0]
    if program != first and not (source / program).is_symlink() and (source / program).samefile(source / first):
        (target / program).hardlink_to(target / first)
    else:
        shutil.copy2(source / program, target, follow_symlinks=False)


def _mended(source: Path, target: Path) -> None:
    if not target.is_file() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copy2(source, new)
        new.rename(target)


def _files(source: Path) -> list[Path]:
    """All that is copied, by the paths in the build."""
    files = sorted(path for path in (source / INTERNAL).rglob("*") if path.is_file())
    return [*map(Path, PROGRAMS), *(path.relative_to(source) for path in files)]


def _digest(source: Path) -> str:
    """Of all that is copied; of a build that lacks something, that of no build."""
    digest = hashlib.sha256()
    for path in _files(source):
        file = source / path
        if file.is_file():
            digest.update(f"{path} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _is_anothers(path: Path) -> bool:
    """Whether something stands there that is not a link of ours."""
    if not os.path.lexists(path):
        return False
    return not (path.is_symlink() and os.readlink(path).startswith((BUILD, *PROGRAMS)))


def _point(link: Path, to: str) -> None:
    """Makes the link, or turns it, in one step."""
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.symlink_to(to)
    new.rename(link)
