"""Whether a page is about the paper (MT-CP): this decides on its heading, its ledger and a part of its glossary."""

from typing import Final

import pandas as pd

_NETWORK: Final = "mtcp"
_OWN: Final = "own"


def about_paper(methods: pd.DataFrame, claims: pd.DataFrame) -> bool:
    """Whether a grid has the paper's network, or can judge a claim that cites a source other than the study itself.

    `methods` and `claims` are the benchmark's tables of these names.
    """
    cited = claims.n.notna() & (claims.evidence != _OWN)
    return bool((methods.architecture == _NETWORK).any() or cited.any())
