"""Run `snakemake --lint` and fail on every hint that is not answered here."""

import subprocess
import sys
from collections.abc import Iterator

#: Start of a hint -> why it does not apply here.
ANSWERS = {
    "Specify a conda environment or container": "the locked environment is recorded in every run; conda adds nothing",
    "Shell command directly uses variable MTCP": "it is how rules call Python; what decides the work is in the "
    "keys of their targets",
    "Path composition with '+'": "what is put together is a shell command: the quoted interpreter, then a template",
}


def open_hints(report: str) -> Iterator[str]:
    """Yield place and title of every unanswered hint in the output of `snakemake --lint`."""
    place = ""
    for line in report.splitlines():
        if line.startswith("Lints for "):
            place = line.removeprefix("Lints for ").rstrip(":")
        elif line.startswith("    * ") and not line.removeprefix("    * ").startswith(tuple(ANSWERS)):
            yield f"{place}: {line.removeprefix('    * ').rstrip(':')}"


def main() -> int:
    """Print the open hints; return the exit status."""
    command = [sys.executable, "-m", "snakemake", "--lint"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = done.stdout + done.stderr
    if done.returncode and "Lints for " not in report:
        print(report, file=sys.stderr)
        return 1
    found = list(open_hints(report))
    print("\n".join(found) or "snakemake --lint: every hint has its answer in workflow/lint.py")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
