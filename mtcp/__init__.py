"""Reproducibility benchmark suite for multi-task dense prediction: MT-CP, baselines, seeds, verdicts."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mtcp")
except PackageNotFoundError:  # run from the source tree, as on a GPU machine without an installation
    __version__ = "0.1.0+source"
