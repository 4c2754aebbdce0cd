"""What is code: what the import machinery loads, and how installed libraries say who they are.

A suffix alone makes nothing code. It counts below the folders in which libraries are installed; anywhere else a file is
code only while it is being imported, or where a module in memory came from it.
"""

from __future__ import annotations

import importlib._bootstrap_external
import os
import re
import site
import sys
import sysconfig
import zipimport
from importlib.machinery import all_suffixes
from pathlib import Path
from types import FrameType

from .paths import below

IMPORTED = tuple(all_suffixes())
SHARED_LIBRARY = re.compile(r".+\.(so(\.\d+)*|dylib|dll|pyd)", re.DOTALL)
NATIVE = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
          "/usr/local/cuda", os.path.join(sys.prefix, "lib"), os.path.join(sys.base_prefix, "lib"))  # fmt: skip
"""Folders of shared libraries."""
METADATA = {"METADATA", "PKG-INFO", "RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json", "entry_points.txt",
            "top_level.txt", "requires.txt", "namespace_packages.txt"}  # fmt: skip
"""Files of a folder NAME.dist-info or NAME.egg-info that say what is installed."""
MACHINERY = (vars(importlib._bootstrap_external), vars(zipimport))
LOADING = {"get_code", "_get_module_code", "_read_directory"}
"""Functions of the machinery that read a file in order to run it. Its `get_data` alone gives any file's bytes away."""
OWN_PACKAGE = os.path.realpath(Path(__file__).parents[2])


class Code:
    """Where code lies, as it was when this was made: a path that is put on sys.path later is no library."""

    def __init__(self) -> None:
        installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
        installed += [*site.getsitepackages(), site.getusersitepackages()]
        installed += [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
        self.libraries = {os.path.realpath(folder) for folder in installed}
        self.paths = {os.path.realpath(entry) for entry in sys.path}
        self.native = {os.path.realpath(folder) for folder in NATIVE}
        self.settings = {os.path.realpath(Path(prefix) / "pyvenv.cfg") for prefix in (sys.prefix, sys.base_prefix)}

    def owns(self, path: str) -> bool:
        """Whether the real path `path` is code by where it lies and what it is called, or by a module made of it."""
        folder, name = os.path.split(path)
        if below(path, OWN_PACKAGE) or path in self.settings:
            return True
        if name in METADATA and folder.endswith((".dist-info", ".egg-info")):
            return os.path.dirname(folder) in self.paths | self.libraries
        if SHARED_LIBRARY.fullmatch(name) and any(below(path, root) for root in self.native):
            return True
        if not (name.endswith((*IMPORTED, ".pyi")) or SHARED_LIBRARY.fullmatch(name)):
            return False
        return any(below(path, root) for root in self.libraries) or _is_of_a_module(path)

    def loads(self, path: str, frame: FrameType | None) -> bool:
        """Whether `frame` is the import machinery reading `path` to run it."""
        steps = set()
        while frame is not None and any(frame.f_globals is machinery for machinery in MACHINERY):
            steps.add(frame.f_code.co_name)
            frame = frame.f_back
        return bool(steps & LOADING) and (path.endswith(IMPORTED) or path in self.paths)


def _is_of_a_module(path: str) -> bool:
    """Tracebacks and `inspect` read the source of what was imported before."""
    name = os.path.basename(path)
    for module in list(sys.modules.values()):
        fields = getattr(module, "__dict__", {})
        for file in (fields.get("__file__"), fields.get("__cached__")):
            if isinstance(file, str) and file.endswith(name) and os.path.realpath(file) == path:
                return True
    return False
