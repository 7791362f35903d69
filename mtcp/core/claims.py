"""Claims as data (`config/claims.yaml`): the paper's or one's own, statements that runs can test."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mtcp.core.entries import Entry, read_entries
from mtcp.core.measures import CHANGES, COSTS
from mtcp.core.run_config import Name
from mtcp.core.validation import Model

Evidence = Literal["code", "figure", "abstract", "secondary", "paper"]
ClaimEvidence = Literal[Evidence, "own"]


class Published(Model):
    """A number in `results/published.csv`, the reference of an absolute claim."""

    dataset: str = Field(description="the row's data set, as it stands in the file")
    task: str = Field(description="its task")
    metric: str = Field(description="its metric")
    method: str = Field(description="its method")
    scale: float = Field(1.0, gt=0, description="its unit in ours: 0.01 turns per cent into a fraction")


class Claim(Entry):
    """One statement that runs can test: `method` is better than `reference` on `measure`.

    `measure` is `delta_m`, `delta_coherence`, a task (its primary metric) or a cost. An absolute claim has `published`
    instead of `reference` and is not tested on rendered benchmarks. With `reference_output`, the final output is
    compared with that output of the reference, which may be the method itself. Claims of one `family` are corrected
    together by Holm's method.
    """

    id: Name = Field(description="its name, which no other claim has")
    family: Name = Field("main", description="the claims that are corrected together, declared before any run")
    text: str = Field(description="the statement, in one sentence")
    evidence: ClaimEvidence = Field(description="where it was read; own: a claim of this study itself")
    source: str | None = Field(None, description="the place there, so that others find it; required unless `own`")
    method: Name = Field(description="the method that the claim is about")
    reference: Name | None = Field(None, description="the method that is compared with; null: `published`")
    reference_output: Literal["initial", "aux1", "aux2"] | None = Field(
        None, description="the output of the reference that is compared with; null: the final one"
    )
    published: Published | None = Field(None, description="a row of results/published.csv instead of `reference`")
    measure: Name = Field("delta_m", description="`delta_m`, `delta_coherence`, a task (its primary metric) or a cost")
    metric: str | None = Field(None, description="another metric of the task than its primary one")
    rope: float | None = Field(
        None,
        gt=0,
        description="practically equal within this, in the metric's unit; null: the task's, or a usual one where "
        "`metric` has another unit (costs: per cent)",
    )
    benchmarks: list[Name] = Field(default_factory=list, description="where it can be judged; empty: anywhere")

    @model_validator(mode="after")
    def _says_where_it_was_read(self) -> "Claim":
        if self.evidence != "own" and not (self.source or "").strip():
            raise ValueError(
                f"`source` is missing: say where in the {self.evidence} it was read; a claim of your own has "
                "`evidence: own` and needs none"
            )
        return self

    @model_validator(mode="after")
    def _compares_with_one_thing(self) -> "Claim":
        if (self.reference is None) == (self.published is None):
            raise ValueError("give either `reference` (a method) or `published` (a number)")
        if self.metric is not None and self.measure in (*CHANGES, *COSTS):
            raise ValueError(f"`metric` chooses among those of a task, and `measure` is {self.measure}: leave it out")
        if self.reference_output is not None and self.measure in COSTS:
            raise ValueError(f"all outputs of a network have one {self.measure}: leave `reference_output` out")
        if self.reference == self.method and self.reference_output is None:
            raise ValueError("`method` and `reference` are the same: compare with another one, or `reference_output`")
        return self


def load_claims(path: Path) -> list[Claim]:
    """Read `config/claims.yaml`; none if there is no such file. Raises `UserError` naming file, line and key."""
    return read_entries(Claim, path)
