"""Makes the modules that are made of the JSON Schemas, before a wheel is packed; all else is in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithValidators(build_py):
    def run(self) -> None:
        subprocess.run([sys.executable, "-m", "cni_core.schema.generate"], cwd=Path(__file__).parent, check=True)
        super().run()


setup(cmdclass={"build_py": BuildWithValidators})
