"""The machine, packages and commit of a run."""

import hashlib
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from mtcp.core.hashing import file_digest
from mtcp.core.validation import Model

_RECORDED: Final = (
    "mtcp", "torch", "torchvision", "timm", "transformers", "numpy", "scipy", "pandas", "pillow",
    "safetensors", "snakemake", "dvc",
)  # fmt: skip


class GitState(Model):
    """The commit, whether tracked files differ from it, and the SHA-256 of the diff."""

    commit: str
    dirty: bool
    diff_sha256: str | None


class Gpu(Model):
    """The GPU of a run, with torch's CUDA version and the driver version."""

    name: str
    memory_gib: float
    cuda: str | None
    driver: str | None


class Environment(Model):
    """The machine and the packages of a run; see `environment_class`."""

    environment_class: str
    python: str
    platform: str
    cpu: str
    cores: int | None
    gpu: Gpu | None
    packages: dict[str, str]
    lock_sha256: str | None

    @property
    def processor(self) -> str:
        """The name of the GPU if there was one, else of the CPU."""
        return self.gpu.name if self.gpu else self.cpu


def git_state(root: Path) -> GitState | None:
    """Return the state of the git checkout at `root`; None outside one."""

    def git(*arguments: str) -> bytes | None:
        done = _git(root, *arguments)
        return done.stdout if done and done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    diff = hashlib.sha256(git("diff", "HEAD") or b"").hexdigest() if dirty else None
    return GitState(commit=commit.decode().strip(), dirty=dirty, diff_sha256=diff)


def git_refusal(root: Path) -> str | None:
    """Return why git names no commit although `root` lies in a repository, such as one of another user; else None."""
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return None
    done = _git(root, "rev-parse", "HEAD")
    return done.stderr.decode(errors="replace").partition("\n")[0] if done and done.returncode else None


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    """Run git at `root`; None without git, or where it does not answer."""
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None


def environment_class(device: str) -> str:
    """Device type and minor version of torch; comparisons that pair runs of different classes are marked."""
    installed = installed_version("torch")
    return f"{device.split(':')[0]}-torch{'.'.join(installed.split('.')[:2]) if installed else 'none'}"


def environment(device: str, root: Path) -> Environment:
    """Describe the machine and the packages of a run."""
    lock = root / "requirements.lock"
    return Environment(
        environment_class=environment_class(device),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=processor_name(),
        cores=os.cpu_count(),
        gpu=_gpu(device),
        packages={name: found for name in _RECORDED if (found := installed_version(name))},
        lock_sha256=file_digest(lock) if lock.exists() else None,
    )


def installed_version(package: str) -> str | None:
    """Return the installed version of `package`, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor_name() -> str:
    """Name, family and model of the CPU, and its widest vector instructions: networks differ between these by rounding.

    Virtual machines often give processors of several generations the same name.
    """
    try:
        return described(Path("/proc/cpuinfo").read_text())
    except OSError:
        return platform.processor() or platform.machine()


def described(cpuinfo: str) -> str:
    """`processor_name` of a machine whose /proc/cpuinfo is `cpuinfo`; what that lacks is left out."""
    found = dict(re.findall(r"^(.*?)\s*: (.*)$", cpuinfo, re.MULTILINE))
    parts = [found.get("model name", platform.machine())]
    if "cpu family" in found and "model" in found:
        parts.append(f"family {found['cpu family']} model {found['model']}")
    flags = found.get("flags", "").split()
    return ", ".join(parts + [name for name in ("avx512f", "avx2") if name in flags][:1])


def _gpu(device: str) -> Gpu | None:
    if not device.startswith("cuda"):
        return None
    import torch

    properties = torch.cuda.get_device_properties(device)
    return Gpu(
        name=properties.name,
        memory_gib=round(properties.total_memory / 2**30, 1),
        cuda=torch.version.cuda,
        driver=_driver(),
    )


def _driver() -> str | None:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0].strip() if said else None
