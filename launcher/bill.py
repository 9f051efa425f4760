"""Writes what a release says of its parts: `python -m launcher.bill BUILD DIRECTORY`.

    DIRECTORY/sbom.cdx.json   the bill of materials (CycloneDX)
    DIRECTORY/licenses/       the full licence texts: ours, those of the Python packages that are frozen in, and of the
                              other files the copyright files of their Debian packages, with the texts they refer to

The texts are the system's own. A file of the build whose origin is not found is an error: its licence would be missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from filecmp import cmp
from importlib.metadata import Distribution, distributions
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from launcher.build import LIBRARY

INTERNAL = "_internal"
OWN_LICENSE = "Apache-2.0"  # as LICENSE says
COMMON = Path("/usr/share/common-licenses")
DOCUMENTS = Path("/usr/share/doc")
# What is linked into the launcher, and Python's modules in base_library.zip.
LINKED = (str(LIBRARY), "libc.a", "libgcc.a")
MODULE = Path(os.__file__)


@dataclass(frozen=True, order=True)
class Package:
    """Of Debian's. text: its copyright file."""

    name: str
    version: str
    architecture: str
    text: Path


def main() -> None:
    build, directory = Path(sys.argv[1]), Path(sys.argv[2])
    frozen = sorted(distributions(path=[str(build / INTERNAL)]), key=lambda one: one.name.lower())
    packages = sorted({owner(file) for file in [*libraries(build / INTERNAL), *linked()]})
    licenses = directory / "licenses"
    licenses.mkdir(parents=True)
    for distribution in frozen:
        for text in texts(distribution):
            target = licenses / f"{distribution.name}-{distribution.version}"
            target.mkdir(exist_ok=True)
            shutil.copyfile(text, target / text.name)
    common = {OWN_LICENSE}
    for package in packages:
        content = package.text.read_text(encoding="utf-8")
        common |= set(re.findall(rf"{COMMON}/([\w.+-]*\w)", content))
        (licenses / f"{package.name}-{package.version.replace(':', '_')}").write_text(content, encoding="utf-8")
    for name in common:
        shutil.copyfile(COMMON / name, licenses / name)
    (directory / "sbom.cdx.json").write_text(bill(frozen, packages) + "\n", encoding="utf-8")


def libraries(internal: Path) -> Iterator[Path]:
    """The shared objects that are not of a Python package: those lie in its directory."""
    for file in sorted(internal.rglob("*.so*")):
        if file.parent == internal or file.parent.name == "lib-dynload":
            yield file


def linked() -> Iterator[Path]:
    for name in LINKED:
        done = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        yield Path(done.stdout.strip())
    yield MODULE


def owner(file: Path) -> Package:
    """The package whose file this is, or is a copy of. SystemExit where there is none."""
    found = subprocess.run(["dpkg-query", "--search", f"*/{file.name}"], capture_output=True, text=True).stdout
    for line in found.splitlines():
        owners, _, path = line.partition(": ")
        if os.path.isfile(path) and cmp(path, file, shallow=False):
            show = "${Package}\t${Version}\t${Architecture}"
            argv = ["dpkg-query", "--show", f"--showformat={show}", owners.split(", ")[0]]
            name, version, architecture = subprocess.run(
                argv, capture_output=True, text=True, check=True
            ).stdout.split()
            return Package(name, version, architecture, DOCUMENTS / name / "copyright")
    raise SystemExit(f"{file} is of no package that dpkg knows: nobody can tell its licence")


def texts(distribution: Distribution) -> list[Path]:
    """SystemExit where a Python package brings no licence text."""
    wanted = re.compile(r"(LICEN[CS]E|COPYING|NOTICE)[^/]*$", re.IGNORECASE)
    name = re.sub(r"[-_.]+", "_", distribution.metadata["Name"])  # as the specification of dist-info has it
    info = Path(str(distribution.locate_file(f"{name}-{distribution.version}.dist-info")))
    found = sorted(file for file in info.rglob("*") if file.is_file() and wanted.search(file.name))
    if not found:
        raise SystemExit(f"{distribution.name} {distribution.version} has no licence text in {info}")
    return found


def bill(frozen: list[Distribution], packages: list[Package]) -> str:
    """CycloneDX 1.6 in JSON; the same parts and SOURCE_DATE_EPOCH give the same text."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    from cni_core import __version__

    whole = Component(
        name="cni-macvlan-ipvlan-py",
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref="cni-py",
        licenses=[DisjunctiveLicense(id=OWN_LICENSE)],
    )
    made = Bom()
    made.metadata.component = whole
    made.metadata.timestamp = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    parts = []
    for one in frozen:
        told = ", ".join(one.metadata.get_all("License-Expression") or [])
        url = PackageURL("pypi", name=re.sub(r"[-_.]+", "-", one.name).lower(), version=one.version)
        licenses = (
            [LicenseExpression(told)] if told else [DisjunctiveLicense(name=f"licenses/{one.name}-{one.version}")]
        )
        parts.append((one.name, one.version, url, licenses))
    for package in packages:
        url = PackageURL("deb", "debian", package.name, package.version, {"arch": package.architecture})
        file = f"licenses/{package.name}-{package.version.replace(':', '_')}"
        parts.append((package.name, package.version, url, [DisjunctiveLicense(name=file)]))
    components = [
        Component(name=name, version=version, purl=url, bom_ref=str(url), licenses=licenses, type=ComponentType.LIBRARY)
        for name, version, url, licenses in parts
    ]
    made.components.update(components)
    made.register_dependency(whole, components)
    made.serial_number = uuid5(NAMESPACE_URL, " ".join([__version__, *(str(url) for _, _, url, _ in parts)]))
    return JsonV1Dot6(made).output_as_string(indent=2)


if __name__ == "__main__":
    main()
