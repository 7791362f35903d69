"""Facts on a report's data (images, subsets, derived targets, resizing) for the head of the page and the LaTeX."""

from mtcp.core.project import Project
from mtcp.data.locks import read_lock


def data_facts(project: Project, name: str) -> str:
    """Describe the data of benchmark `name`, from its configuration and the set's lock."""
    benchmark, data = project.benchmark(name), project.data_name(name)
    lock = read_lock(project, data) or {}
    parts = [f"set {data}"]
    if counts := lock.get("counts"):
        parts.append(f"{counts['train']} training and {counts['val']} test images")
    if benchmark.validation_share:
        parts.append(f"{100 * benchmark.validation_share:g} % of the training images kept for validation")
    derived = lock.get("derived") or {}
    parts += [f"{task} derived from {source}" for task, source in derived.items() if task in benchmark.tasks]
    if packaging := lock.get("packaging"):
        parts.append(f"{packaging}, resized to {benchmark.height}x{benchmark.width} for the network")
    if lock and (given := set(benchmark.tasks) - set(derived)) and derived:
        parts.append(f"{', '.join(task for task in benchmark.tasks if task in given)} as given")
    return "; ".join(parts)
