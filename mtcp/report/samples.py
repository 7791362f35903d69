"""Prediction sheets, embedded in the page."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image

from mtcp.core.config import Benchmark
from mtcp.core.errors import UserError
from mtcp.core.files import visible
from mtcp.core.project_files import SAMPLES, run_folder
from mtcp.core.words import listed
from mtcp.report.extremes import PLACES, extremes, first_finished
from mtcp.report.page import Page

#: Total size of the sample images embedded in one report (bytes; base64 adds a third). A page of 1,000 runs has 2.8 MB
#: without them, and no page should exceed 5 MB.
_SAMPLE_BUDGET: Final = 1_500_000


def samples(page: Page) -> list[dict[str, Any]]:
    """Return the prediction sheets: best, median and worst image, then those of the methods, the reference first.

    They are embedded as WebP, a quarter of the stored PNG's size, up to the page's budget.
    """
    labels, provenance, root = page.labels, page.tables["provenance"], page.project.root
    sheets: list[tuple[str, str, Path]] = [
        (f"By Δm of the image alone, {each.words}", f"{labels[each.method]}, {each.place} image", each.path)
        for each in extremes(root, page.name, page.benchmark, page.tables["images"], provenance)
        if each.path.exists()
    ]
    for method in sorted(labels, key=lambda each: each != page.benchmark.reference):
        if (run := first_finished(provenance, method)) is not None:
            folder = run_folder(root, page.name, method, run.seed, run.train_key) / SAMPLES
            title = f"{labels[method]}, seed {run.seed}"
            sheets += [(title, f"{labels[method]}, {path.stem}", path) for path in visible(folder, "*.png")]
    groups: dict[str, list[dict[str, str]]] = {}
    spent = 0
    for title, what, path in sheets:
        content = _webp(path)
        spent += len(content)
        if spent > _SAMPLE_BUDGET:
            break
        source = "data:image/webp;base64," + base64.b64encode(content).decode()
        alt = f"Image, truth, prediction and error by task: {what}"
        groups.setdefault(title, []).append({"source": source, "alt": alt, "caption": what})
    return [{"title": title, "images": images} for title, images in groups.items()]


def _webp(path: Path) -> bytes:
    buffer = BytesIO()
    try:
        with Image.open(path) as picture:
            picture.save(buffer, "webp", quality=82)
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise UserError(f"{path} is damaged ({error}): remove it and evaluate the run again") from error
    return buffer.getvalue()


def samples_note(benchmark: Benchmark, private: bool) -> str:
    """Return a note on which images are shown, or why none are."""
    if benchmark.rendered is None and not private:
        return "Real photographs are not embedded; 'mtcp report --with-images' writes a private page that has them."
    return (
        f"The {listed(PLACES, 'and')} image by Δm of the image alone (images.csv), reference beside "
        "baseline, then the first images of the test list, whatever they show; each network at its first finished seed."
    )
