"""`pip wheel .`, of a clean copy of the sources, as a clone has them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

from cni_core import __version__

REPOSITORY = Path(__file__).parents[2]
MODULES = (
    "import cni_cli.main, cni_core.schema.validators as validators, ipam.host_local, cni_ipvlan_py.link; "
    "print(validators.__file__)"
)


def test_a_wheel_is_whole_and_says_what_it_is(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    kept = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True)
    names = [REPOSITORY / name for name in kept.stdout.decode().split("\0") if name]
    for file in names:
        if file.is_file():
            (sources / file.relative_to(REPOSITORY)).parent.mkdir(parents=True, exist_ok=True)
            (sources / file.relative_to(REPOSITORY)).write_bytes(file.read_bytes())
    # The environment has what pyproject.toml requires, so that no package index is needed here.
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*argv, "-w", tmp_path, sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "packed")
    [metadata] = (tmp_path / "packed").glob("*.dist-info/METADATA")
    told = message_from_bytes(metadata.read_bytes())
    assert (told["Version"], told["License-Expression"]) == (__version__, "Apache-2.0")
    assert (metadata.parent / "licenses/LICENSE").read_text().startswith("SPDX-License-Identifier: Apache-2.0\n")
    packages = {path.name for path in (tmp_path / "packed").iterdir() if path.suffix != ".dist-info"}
    assert packages == {"cni_cli", "cni_core", "cni_ipvlan_py", "cni_macvlan_py", "ipam"}
    ran = subprocess.run([sys.executable, "-c", MODULES], cwd=tmp_path / "packed", capture_output=True, text=True)
    assert ran.stdout == f"{tmp_path}/packed/cni_core/schema/validators.py\n", ran.stderr
