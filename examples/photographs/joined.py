r"""Join archived runs and runs trained later, at the same commit, in one archive.

    python examples/photographs/joined.py nyud_lite CLONE --as nyud_lite_schemes --seeds 0 1 2 \
        --methods trivial_prior single_task mtl_baseline mtcp mtcp_equal uncertainty dwa pcgrad famo
    python examples/photographs/joined.py pascal_lite CLONE --seeds 0 1 2 3 4 5 6 \
        --methods trivial_prior single_task mtl_baseline mtcp mtcp_equal

The archive of the benchmark is replaced, unless `--as` names another; CLONE trained the later runs. An archive has no
statistics per image, so Snakemake cannot make tables of both kinds of runs: those of a joined archive have no intervals
over test images and no IoU by class.
"""

import argparse
import shutil
from pathlib import Path

import yaml

from mtcp.analysis.archived import verify_archive
from mtcp.analysis.tables import build_tables, to_csv
from mtcp.core.files import write_text
from mtcp.core.project_files import HISTORY, PUBLISHED, RECORD, REFERENCE, RUNS, TABLES, metrics_file
from mtcp.report.render import write_report
from mtcp.store.archive import archived_plan, written_anew

ROOT = Path(__file__).parents[2]


def run_folder(clone: Path, benchmark: str, method: str, seed: int) -> Path:
    """The folder of a run: in the archive of the benchmark if it is there, otherwise in the clone."""
    for root in (ROOT / REFERENCE / benchmark, clone):
        found = sorted((root / RUNS / benchmark / method).glob(f"seed{seed}-*"))
        if len(found) > 1:
            raise SystemExit(f"{method}, seed {seed}: {root} has {len(found)} runs of it; keep one")
        if found:
            return found[0]
    raise SystemExit(f"{method}, seed {seed}: neither in the archive of {benchmark} nor in {clone}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Join archived runs and runs trained later in one archive.")
    parser.add_argument("benchmark", help="whose runs are joined")
    parser.add_argument("clone", type=Path, help="folder of the clone that trained what is not archived")
    parser.add_argument("--as", dest="name", help="name of the joined archive (default: the benchmark's)")
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--methods", nargs="+", required=True)
    parser.add_argument(
        "--looks", type=int, default=1, help="how often verdicts have been computed, this time included"
    )
    given = parser.parse_args()
    benchmark, archived = given.benchmark, ROOT / REFERENCE / given.benchmark
    joined = ROOT / REFERENCE / (given.name or benchmark)
    with written_anew(joined) as folder:
        for part in ("config", "data"):
            shutil.copytree(archived / part, folder / part)
        grid = {"benchmarks": [benchmark], "methods": given.methods, "seeds": given.seeds}
        if given.looks > 1:
            grid["looks"] = given.looks
        write_text(folder / "params.yaml", yaml.safe_dump(grid, sort_keys=False))
        for method in given.methods:
            for seed in given.seeds:
                source = run_folder(given.clone, benchmark, method, seed)
                target = folder / RUNS / benchmark / method / source.name
                target.mkdir(parents=True)
                for path in (source / RECORD, source / HISTORY, *source.glob(metrics_file("*"))):
                    shutil.copyfile(path, target / path.name)
        shutil.copyfile(archived / PUBLISHED, folder / PUBLISHED)
        place = folder / TABLES / benchmark
        place.mkdir(parents=True)
        for name, table in build_tables(archived_plan(folder), benchmark).items():
            write_text(place / f"{name}.csv", to_csv(table))
        write_report(folder, benchmark)
    for problem in verify_archive(ROOT, joined)[0]:
        raise SystemExit(f"{problem['where']}: {problem['problem']}")


if __name__ == "__main__":
    main()
