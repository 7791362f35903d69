"""Reproducibility benchmark suite for multi-task dense prediction: MT-CP, baselines, seeds, verdicts."""


def __getattr__(name: str) -> str:
    """Look up the installed version only when `__version__` is read: it takes a tenth of the time of `mtcp plan`."""
    if name != "__version__":
        raise AttributeError(f"module 'mtcp' has no attribute '{name}'")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mtcp")
    except PackageNotFoundError:  # run from the source tree, as on a GPU machine without an installation
        return "0.1.0+source"
