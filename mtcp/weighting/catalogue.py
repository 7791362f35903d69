"""The catalogue of schemes (name, cost, parameters, docstring), and docs/schemes.md, which is written from it."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mtcp.core import plugins
from mtcp.weighting.defaults import OF_GRADIENT_SCHEMES, Source, source_of

_INTRODUCTION: Final = """\
# Weighting schemes

A scheme turns the losses of several tasks into one update of the network. Every scheme below trains on every
benchmark, with two exceptions: `fixed` needs weights (`scheme_parameters` of the benchmark, or the method's own), and
`auto_lambda` a validation split. A method names one in `config/methods.yaml`, with its parameters beside it:

```yaml
my_method:
  label: MT-CP network, PCGrad
  family: scheme
  architecture: {name: mtcp}
  scheme: {name: pcgrad, shared_parameters: representation}
```

`mtcp schemes` lists them, `mtcp schemes show NAME` prints one, `mtcp schemes new NAME` writes a file for yours.

**Cost.** `losses`: loss values alone. `gradients`: one backward pass per task. `forward`: one more forward pass after
the step. `mtcp` measures seconds per step and peak memory of every run; `pytest tests/benchmarks/test_schemes.py`
measures each scheme relative to equal weights. Under `training.compile` the class `gradients` is refused.

**Scale.** Where a paper's weights sum to 1 they are multiplied by the number k of tasks present in the step, so that
equal weights are 1 in every scheme.

**Auxiliary losses.** By default (`losses: {auxiliary_weighting: own_task}`) a task's auxiliary losses are part of its
loss, and the scheme weighs the sum. `unweighted` adds them past the scheme, as the released code does; `mtcp` and the
LPS rows keep that form, but for `mtcp_auxiliary_own_task`. On four training batches of rooms with the untrained `mtcp`
network (`pytest tests/benchmarks/test_auxiliary.py -s`), the means of the cosine between the shared encoder's step and
the auxiliary gradient, and of the scheme's share of the update's norm (unweighted), are:

| scheme | cosine, unweighted | cosine, `own_task` | share |
|---|---|---|---|
| MGDA | 0.989 | 0.119 | 0.124 |
| Aligned-MTL | 0.997 | 0.679 | 0.070 |
| Nash-MTL | 0.985 | 0.675 | 0.149 |
| IMTL-G | 0.979 | 0.680 | 0.170 |
| DB-MTL | 0.942 | 0.533 | 0.259 |
| equal weights | 0.758 | 0.758 | 0.470 |

history.csv has that share for every epoch as `scheme_share`; it is 1 with `own_task`.

**Absent tasks.** A task without a valid pixel in a batch is absent from that step; its state stays as it is.

**Signs of life.** Every epoch logs each task's mean effective weight, the derivative of what is descended with respect
to the task's loss; schemes of cost `gradients` also log the cosine between the gradients of every pair of tasks and the
share of pairs in conflict, their magnitude similarity and the condition number of the gradients, and all others do so
every `training.diagnostics_every` batches. Flags in run.json and in the tables: `stayed_equal` (should have moved and
did not; where conflict moves a scheme: although there was conflict), `negative_weights`, `runaway_weights` (1000 times
the largest of the first step), `weights_far_from_optimum` (learned weights a factor of 2 off), `never_acted` (the run
ended in the scheme's warm-up: five epochs by default for `stch` and for `igb_v2`). Negative coefficients
that belong to a scheme's own solution (IMTL, IMTL-G, Aligned-MTL, ConFIG; for GradDrop those of the combination
nearest to its update) are noted as `negative_by_design`, without the table's mark of trouble: the update may still
descend every task, whereas a loss with a negative weight is ascended. A NaN, a failed solver or a loss outside a
scheme's domain ends the run with the status `diverged` and a reason that names scheme, task and step; what was saved
stays usable.

**Shared parameters.** Schemes of cost `gradients` combine the gradients of `encoder` (everything upstream of the shared
representation R; the default, and the literature's choice), of `all_shared` (every parameter that reaches two or more
tasks; on MT-CP, whose fusion crosses tasks, about 95 %), of `all_but_heads` (what belongs to one task included, as the
code of Nash-MTL, FAMO and FairGrad; docs/weighting-literature.md), or, for schemes that return one coefficient a task,
at the `representation` itself, which costs one backward pass through the encoder instead of k. All other parameters get
the gradient of the plain sum, as in the papers' algorithms, unless the scheme's text says otherwise. Code that carries
the coefficients into one weighted loss (Nash-MTL, MGDA and IMTL-G in the code of Nash-MTL and its successors, FairGrad
in LibMTL) weighs every parameter's gradient.

**Left out.** ConicGrad (Hassanpour et al., 2025): its constraint could be read, but not how long the update is.

Notation: k tasks are present in a step, T in all; l_t is the loss of task t, w_t its weight, g_t its gradient on the
shared parameters, G the matrix of the products <g_i, g_j>.

This page is written by `mtcp schemes docs` from the docstrings.
"""

_DEFAULTS: Final = """\
# Defaults and their sources

"not seen": the paper, or the code, was not read for this table. Libraries stand in where the authors' own code was not
read, and are named.

"""


@dataclass(frozen=True)
class Entry:
    """One scheme of the catalogue. `title` is the docstring's first paragraph, `text` the whole docstring."""

    name: str
    cost: str
    title: str
    text: str
    parameters: tuple[dict[str, Any], ...]
    path: Path


def catalogue(root: Path | None = None) -> list[Entry]:
    """Return all schemes in alphabetical order, including those in `root`/plugins."""
    return [entry(name, root) for name in sorted(plugins.find("scheme", root))]


def entry(name: str, root: Path | None = None) -> Entry:
    """Return scheme `name`; raises `UserError` listing the known names if there is none."""
    cls = plugins.load("scheme", name, root)
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "No description.")
    parameters = tuple(
        {"name": key, **_limits(schema), "description": schema.get("description", "")}
        for key, schema in cls.Parameters.model_json_schema().get("properties", {}).items()
    )
    title = " ".join(text.split("\n\n")[0].split())
    return Entry(name, cls.cost, title, text, parameters, plugins.path_of("scheme", name, root))


def markdown(entries: list[Entry]) -> str:
    """Return docs/schemes.md: an introduction, a table of contents, one section per scheme, the table of defaults."""
    contents = ["| scheme | cost | parameters |", "|---|---|---|"]
    for one in entries:
        names = ", ".join(f"`{parameter['name']}`" for parameter in one.parameters) or "none"
        contents.append(f"| [`{one.name}`](#{one.name}) | {one.cost} | {names} |")
    return "\n".join([_INTRODUCTION, *contents, "", *(_section(one) for one in entries), *_defaults(entries)])


def _defaults(entries: list[Entry]) -> list[str]:
    """The table of defaults (paper, authors' code, ours, reason); the parameters of all gradient schemes come first."""
    rows = ["| scheme | parameter | paper | authors' code | ours | why |", "|---|---|---|---|---|---|"]
    shared = {p["name"]: p["default"] for one in entries for p in one.parameters if p["name"] in OF_GRADIENT_SCHEMES}
    rows += [_sourced("cost `gradients`", name, default, source_of("", name)) for name, default in shared.items()]
    for one in entries:
        own = [parameter for parameter in one.parameters if parameter["name"] not in OF_GRADIENT_SCHEMES]
        rows += [_sourced(f"`{one.name}`", p["name"], p["default"], source_of(one.name, p["name"])) for p in own]
    return [_DEFAULTS, *rows, ""]


def _sourced(scheme: str, parameter: str, default: str, source: Source | None) -> str:
    paper, code, why = source or ("", "", "")
    return f"| {scheme} | `{parameter}` | {paper} | {code} | {default} | {why} |"


def _section(one: Entry) -> str:
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in one.text.split("\n\n"))
    parts = [f"## {one.name}", text, f"Cost: {one.cost}."]
    if one.parameters:
        rows = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
        rows += [f"| `{p['name']}` | {p['type']} | {p['default']} | {p['description']} |" for p in one.parameters]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _limits(schema: dict[str, Any]) -> dict[str, str]:
    """Return a parameter's type with bounds, and its default, from its JSON schema."""
    kind = " or ".join(map(str, schema["enum"])) if "enum" in schema else schema.get("type", "value")
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    bounds = ", ".join(f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema)
    return {"type": f"{kind} {bounds}".strip(), "default": str(schema.get("default", "required"))}
