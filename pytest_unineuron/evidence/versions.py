"""The versions on which a result depends."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from pytest_unineuron.cache.source_code import package_digest

SOURCE = "pytest-unineuron source"
"""The key for the digest of this package's source, which a version number does not pin."""
PACKAGES = (
    "pytest-unineuron",
    "pytest",
    "pytest-xdist",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
)


def installed_versions() -> dict[str, str]:
    """The versions of Python, the platform, this package's source, and the installed packages."""
    found = {"python": platform.python_version(), "platform": platform.platform(), SOURCE: package_digest()[:16]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
