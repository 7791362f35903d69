"""Export of a trained run: the network file and its model card."""

from pathlib import Path
from typing import Any

from mtcp.core.files import write_text
from mtcp.core.hashing import file_digest
from mtcp.evaluation.exporting import export
from mtcp.store.model_card import model_card
from mtcp.store.trained import TrainedRun


def export_run(run: TrainedRun, folder: Path) -> dict[str, Any]:
    """Write `model.pt` and `MODEL_CARD.md` to `folder`; return their paths and the exported model's deviations."""
    model, card = folder / "model.pt", folder / "MODEL_CARD.md"
    differences = export(run.network, run.config, model)
    metrics: list[tuple[str, str, float]] = []
    if run.evaluated:
        table = run.metrics.query("selection == 'last' and output == 'final'").dropna()
        metrics = list(zip(table.task, table.metric, table.value, strict=True))
    file = {"name": model.name, "sha256": file_digest(model), "differences": differences}
    write_text(card, model_card(run.record, run.config, metrics, run.class_names, file))
    return {"model": str(model), "card": str(card), "differences": differences}
