"""A check of the number of runs behind each value: `n` of the written tables, recounted from the runs."""

from collections.abc import Iterator, Mapping

import pandas as pd

from mtcp.analysis.speed import MEASURED

#: Tables with a row per comparison or per mean, and the number of seeds behind it.
COUNTED = ("summary", "comparisons", "claims")


def recount(
    tables: Mapping[str, pd.DataFrame],
    finished: Mapping[str, frozenset[int]],
    rounds: Mapping[str, frozenset[int]],
) -> Iterator[tuple[str, str]]:
    """Yield (table and row, problem) for every row whose `n` exceeds the number of its finished runs.

    `finished`: the distinct seeds of each method's evaluated runs. A pair needs a run of both methods. `rounds`: the
    rounds of separate measurement of each method, which replace runs in rows on measured costs.
    """
    for name in COUNTED:
        for place, row in enumerate(tables[name].to_dict("records"), 2):
            behind = {**finished, **rounds} if row.get("metric") in MEASURED else finished
            sides = [behind[each] for each in (str(row["method"]), str(row.get("reference"))) if each in behind]
            most = len(frozenset.intersection(*sides)) if sides else 0
            if row["n"] > most:
                yield f"{name}.csv row {place}, n", f"is {row['n']}, and {most} distinct runs stand behind it"
            seeds = str(row.get("seeds", "")).split(";")
            if len(set(seeds)) < len(seeds):
                yield f"{name}.csv row {place}, seeds", f"names a seed twice: {row['seeds']}"
