"""Sources of every scheme's defaults: the values in the paper and in the authors' code, and the reason for ours.

"not seen": nobody has read the source for this table. Where the authors' own code was not read, a library is quoted
and named instead. Our values are not written here: docs/schemes.md takes them from the declared parameters.
"""

from typing import Final, NamedTuple


class Source(NamedTuple):
    """The values of a parameter in the paper and in the authors' code, and the reason for ours."""

    paper: str
    code: str
    why: str


#: Parameters that all schemes of cost `gradients` have in common.
OF_GRADIENT_SCHEMES: Final = {
    "accumulation": Source(
        "not seen", "no accumulation in any code read", "one combination a step: a micro-batch is an artefact of memory"
    ),
    "shared_parameters": Source(
        "the encoder, or its output (MGDA, IMTL)",
        "all but the heads (Nash-MTL, FAMO, FairGrad); what two tasks reach (CAGrad); the encoder (LibMTL)",
        "encoder: what all architectures have; benchmarks of the literature set all_but_heads",
    ),
}

_RATE: Final = "0.025 (Nash-MTL, FAMO, GO4Align, IGB4MTL: `--method-params-lr`)"
_OPTION: Final = "an option of ours"

DEFAULTS: Final[dict[tuple[str, str], Source]] = {
    ("amtl", "potential"): Source(
        "accuracies of single-task networks", "the same; 1 where none is given", "a scheme sees losses alone"
    ),
    ("amtl", "focus"): Source("not seen", "2", "the code's"),
    ("amtl", "margin"): Source("not seen", "0.05", "the code's"),
    ("amtl", "newest"): Source("not seen", "0.1 (`momentum`)", "the code's"),
    ("auto_lambda", "initial"): Source("not seen", "0.1", "the code's; losses are divided by it, so that equal is 1"),
    ("auto_lambda", "rate"): Source("not seen", "1e-4 (dense prediction)", "the code's"),
    ("cagrad", "c"): Source("0.2 in the text for Cityscapes, 0.4 in the rows", "0.4 (LibMTL 0.5)", "the code's"),
    ("cagrad", "rescale"): Source("no division", "divides by 1 + c^2", "the code's, of which published rows are"),
    ("db_mtl", "beta"): Source("not seen", "0.9 (LibMTL, by the same authors)", "the code's"),
    ("db_mtl", "beta_sigma"): Source("not seen", "0 (LibMTL, by the same authors)", "the code's"),
    ("dtp", "alpha"): Source("not seen", "0.1 (AMTL's copy)", "the copy's; it lets K go to 1e-20, ours to 1e-300"),
    ("dtp", "gamma"): Source("not seen", "1, with 0.5 recommended (AMTL's copy)", "the copy's default"),
    ("dwa", "temperature"): Source("2", "2 (mtan, Nash-MTL)", "both; epochs as in the paper, not windows of 25 steps"),
    ("excess_mtl", "step"): Source("not seen", "0.01 (`robust_step_size`); torchjd 1", "the code's"),
    ("fairgrad", "alpha"): Source("2 in the rows", "2", "both"),
    ("famo", "rate"): Source("0.025", "0.025", "both"),
    ("famo", "decay"): Source(
        "0.001, 0.01 on Cityscapes", "0.01 (famo.py), 1e-5 (the class of the experiments)", "the paper's on NYUv2"
    ),
    ("fixed", "weights"): Source("by search", "by search", "no default: they belong to a benchmark's losses"),
    ("go4align", "groups"): Source("not seen", "1 (command line), which is equal weights", "the fewest that differ"),
    ("go4align", "step"): Source("not seen", "1e-4", "the code's"),
    ("gradnorm", "alpha"): Source("1.5 on NYUv2", "none published; LibMTL 1.5", "both"),
    ("gradnorm", "rate"): Source(
        "not seen", "none published; LibMTL learns a softmax with the network", "that of other learned weights"
    ),
    ("gradvac", "beta"): Source("not seen", "none published; LibMTL and torchjd 0.5", "the libraries', for few tasks"),
    ("igb_v2", "agent_rate"): Source("not seen", "3e-4", "the code's"),
    ("igb_v2", "memory"): Source("not seen", "10,000", "the code's"),
    ("igb_v2", "base_epoch"): Source("not seen", "1, counted from 0", "the code's"),
    ("igb_v2", "learning_from"): Source("not seen", "3", "the code's"),
    ("igb_v2", "random_epochs"): Source("not seen", "5", "the code's"),
    ("igb_v2", "every"): Source("not seen", "50", "the code's"),
    ("imtl", "rate"): Source("not seen", f"none published; {_RATE}", "that of other learned weights"),
    ("imtl_l", "rate"): Source("not seen", f"none published; {_RATE}", "that of other learned weights"),
    ("imtl_l", "solve"): Source("learned", "none published", f"{_OPTION} beside it"),
    ("lps", "kappa"): Source("7.5 on NYUD, 1.6 on PASCAL", "the same", "PASCAL's; benchmarks set their own"),
    ("lps", "log_projection"): Source("log(1 + l)", "off, as the weights are", "the paper's"),
    ("lps_as_released", "kappa"): Source("7.5 on NYUD, 1.6 on PASCAL", "the same, without effect", "as `lps`"),
    ("lps_clipped", "kappa"): Source("7.5 on NYUD, 1.6 on PASCAL", "the same", "as `lps`"),
    ("lps_clipped", "log_projection"): Source("log(1 + l)", "off, as the weights are", "as `lps`"),
    ("mgda", "normalisation"): Source("none", "none, l2, loss or loss+, by data set", "the paper's; all four offered"),
    ("moco", "beta"): Source("not seen", "0.1 (first code), 0.5 (LibMTL, from the authors)", "LibMTL's"),
    ("moco", "beta_sigma"): Source("not seen", "0.5", "the code's"),
    ("moco", "gamma"): Source("not seen", "0.1; the first code moves twice as far", "the code's"),
    ("moco", "gamma_sigma"): Source("not seen", "0.5", "the code's"),
    ("moco", "rho"): Source("not seen", "0", "the code's"),
    ("moco", "normalised"): Source("not seen", "first code no, LibMTL yes", "LibMTL's: gamma has no unit then"),
    ("moco", "projection"): Source("not seen", "first code simplex, LibMTL softmax", "the first code's; both offered"),
    ("modo", "gamma"): Source("not seen", "0.1 (LibMTL 0.001)", "the authors'"),
    ("modo", "rho"): Source("not seen", "0.1", "the code's"),
    ("nash_mtl", "max_norm"): Source("not seen", "1", "the code's"),
    ("pcd", "primary"): Source("the first objective", "the first", "the first task, or any by name"),
    ("pcd", "tau"): Source("0.02 as the representative setting", "0.02", "both"),
    ("pcd", "beta"): Source("not seen", "0.999", "the code's"),
    ("pcd", "epsilon"): Source("not seen", "1e-8", "the code's"),
    ("pivrg", "alone"): Source("single-task metrics", "single-task metrics, constants", "a scheme sees losses alone"),
    ("pivrg", "bound"): Source("not seen", "2", "the code's"),
    ("pivrg", "least_temperature"): Source("not seen", "10", "the code's"),
    ("rlw", "distribution"): Source(
        "not seen", "softmax of normals (in Nash-MTL's code)", "the code's; Dirichlet offered"
    ),
    ("sdmgrad", "strength"): Source("not seen", "0.3 in the experiments, 0.6 in the class", "the experiments'"),
    ("sdmgrad", "iterations"): Source("not seen", "20", "the code's"),
    ("sdmgrad", "rate"): Source("not seen", "not seen; LibMTL 5, torchjd 10", "LibMTL's"),
    ("sdmgrad", "momentum"): Source("not seen", "0.5 (LibMTL, torchjd)", "theirs"),
    ("stch", "compared"): Source(
        "ratios in the formula", "logarithms of ratios, for networks", "the code's; both offered"
    ),
    ("stch", "mu"): Source("not seen", "1", "the code's"),
    ("stch", "warmup_epochs"): Source("not seen", "epochs 0 to 4, units from the last", "the code's"),
    ("uncertainty", "rate"): Source("not seen", _RATE, "the code's, so that weights get to their optimum"),
    ("uncertainty", "solve"): Source("learned", "learned", f"{_OPTION} beside it"),
    ("uw_so", "temperature"): Source("not seen", "not seen", "none that fits all; a budget tunes it"),
}


def source_of(scheme: str, parameter: str) -> Source | None:
    """Return the source of a default; None for a custom scheme."""
    return DEFAULTS.get((scheme, parameter)) or OF_GRADIENT_SCHEMES.get(parameter)
