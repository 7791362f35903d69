"""How many runs stand behind a number: `n` of the written tables, counted again from the runs themselves."""

from collections.abc import Iterator, Mapping

import pandas as pd

#: Tables with a row per comparison of one method with another, or per mean, and the number of seeds behind it.
COUNTED = ("summary", "comparisons", "claims")


def recount(tables: Mapping[str, pd.DataFrame], finished: Mapping[str, frozenset[int]]) -> Iterator[tuple[str, str]]:
    """Yield (table and row, problem) for every row whose `n` is more than the finished runs it is about.

    `finished`: the seeds of each method's evaluated runs, each once. A pair needs a run of both methods.
    """
    for name in COUNTED:
        for place, row in enumerate(tables[name].to_dict("records"), 2):
            sides = [finished[each] for each in (str(row["method"]), str(row.get("reference"))) if each in finished]
            most = len(frozenset.intersection(*sides)) if sides else 0
            if row["n"] > most:
                yield f"{name}.csv row {place}, n", f"is {row['n']}, and {most} distinct runs stand behind it"
            seeds = str(row.get("seeds", "")).split(";")
            if len(set(seeds)) < len(seeds):
                yield f"{name}.csv row {place}, seeds", f"names a seed twice: {row['seeds']}"
