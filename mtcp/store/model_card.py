"""The model card of an exported network: inputs, outputs, metrics and provenance."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtcp.core.run_config import RunConfig
from mtcp.core.tasks import Task
from mtcp.store.records import RunRecord


def model_card(
    record: RunRecord,
    config: RunConfig,
    metrics: Sequence[tuple[str, str, float]],
    class_names: Mapping[str, Sequence[str]],
    file: Mapping[str, Any],
) -> str:
    """Return the card in Markdown.

    `record` is the run's record, `metrics` has (task, metric, value) on the test split, and `file` has the exported
    file's `name`, `sha256` and `differences` from the network by task.
    """
    worst = max(file["differences"].values())
    git, environment = record.git, record.environment
    commit = f"`{git.commit}`{', with uncommitted changes' if git.dirty else ''}" if git else "unknown"
    lines = [
        f"# {config.method} on {config.benchmark}, seed {config.seed}",
        "",
        "## Use",
        "```python",
        "import torch",
        f'network = torch.jit.load("{file["name"]}").eval()',
        f"{', '.join(task.name for task in config.task_list)}{',' * (len(config.task_list) == 1)} = network(image)",
        "```",
        f"`image` is RGB in [0, 255], float32 (1, 3, {config.height}, {config.width}); every output is "
        f"(1, channels, {config.height}, {config.width}).",
        "",
        "| output | channels | meaning |",
        "|---|---|---|",
        *(f"| {task.name} | {task.channels} | {_meaning(task)} |" for task in config.task_list),
        "",
        *_named_classes(config, class_names),
        "## Metrics on the test split",
        *(_metric_table(metrics) or ["The run was not evaluated."]),
        "",
        "## Provenance",
        f"- Data: `{config.benchmark}`, digest `{record.data.digest}`. {record.data.note}".rstrip(),
        f"- Training: {record.epochs} epochs, {record.seconds:.0f} s on {environment.cpu}"
        + (f", {environment.gpu.name}" if environment.gpu else ""),
        f"- Key: `{record.train_key}`; commit: {commit}",
        f"- Packages: {', '.join(f'{name} {version}' for name, version in environment.packages.items())}",
        f"- Initial weights: {_weights(config)}",
        f"- Exported file: `{file['name']}`, SHA-256 `{file['sha256']}`; its outputs "
        + (
            f"differ from the network's by at most {worst:.1e} of the largest"
            if worst
            else "are identical to the network's"
        ),
        "",
        "## Limits",
        "Trained for one comparison at one image size: a photograph of another aspect ratio is squeezed into it. "
        "One seed of several; the report of the study has the spread over seeds. The data set's licence holds for what "
        "was learnt from it.",
    ]
    return "\n".join(lines) + "\n"


def _meaning(task: Task) -> str:
    words = {
        "semseg": "logits of the classes",
        "human_parts": "logits of the classes",
        "depth": f"disparity, in {task.unit}: larger is nearer" if task.disparity else "distance in metres",
        "normals": "normal, unnormalised: x right, y down, z away from the viewer",
        "regression": f"value, in {task.unit or 'the unit of the data set'}",
    }
    return f"{task.label}: {words.get(task.kind, 'logit of a positive pixel')}"


def _named_classes(config: RunConfig, names: Mapping[str, Sequence[str]]) -> list[str]:
    known = [(task, names.get(task.name, ())) for task in config.task_list if names.get(task.name)]
    return [line for task, one in known for line in (f"Classes of {task.name}, from 0: {', '.join(one)}.", "")]


def _metric_table(metrics: Sequence[tuple[str, str, float]]) -> list[str]:
    if not metrics:
        return []
    rows = [f"| {task} | {metric} | {value:.4g} |" for task, metric, value in metrics]
    return ["| task | metric | value |", "|---|---|---|", *rows]


def _weights(config: RunConfig) -> str:
    encoder = config.encoder
    if not (encoder.pretrained or encoder.weights):
        return f"none ({encoder.model} from random values)"
    return f"{encoder.model}{f' at {encoder.revision}' if encoder.revision else ''}"
