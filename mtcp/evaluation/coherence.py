"""Coherence between the predictions for one image: converts outputs to the maps for `mtcp.metrics.coherence`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from mtcp.core.run_config import RunConfig
from mtcp.core.tasks import CLASSES, VOID
from mtcp.data.formats.cameras import Camera, camera_of
from mtcp.data.formats.class_names import class_names
from mtcp.data.preparation.derive import edges_from_labels, normals_from_depth
from mtcp.metrics import coherence
from mtcp.metrics.meter import Statistics, merge

#: Maps of one image by task: labels (H, W), depth (H, W), normals (H, W, 3), probabilities (H, W) of edge and saliency.
Maps = dict[str, NDArray[Any]]
#: Predictions are positive only by training; see `mtcp.metrics.depth`.
_NEAREST = 1e-9
_SALIENT = 0.5
#: The tasks that are compared; a second depth task under another name is not.
_TASKS = coherence.TOGETHER | {"semseg"}


@dataclass(frozen=True)
class CoherenceMeter:
    """Evaluates the predictions for an image together, and in the same way the ground truths: the ceiling.

    `camera` gives the intrinsics at a size (height, width); `person` is the class of people, None if there is none.
    `distances`: depth is in metres; no plane can be fitted to a disparity.
    """

    tolerance: float
    camera: Callable[[int, int], Camera]
    person: int | None
    map_images: Callable[..., Any] = map
    distances: bool = True

    def update(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Statistics:
        """Return the statistics of a batch, (images, ...); empty if no tasks can be compared.

        `predictions` (B, C, H, W) are network outputs, `targets` are as in `mtcp.core.tasks`, by task, of equal size.
        Regression tasks and tasks with other names are ignored: it is not known what they should agree with.
        """
        guesses = {name: _decoded(name, prediction) for name, prediction in predictions.items() if name in _TASKS}
        return self._merged(_by_image(guesses), _truths(targets))

    def ceiling(self, targets: Mapping[str, Tensor]) -> Statistics:
        """Return the statistics of the ground truths, as `update` does for predictions."""
        truths = _truths(targets)
        return self._merged(truths, truths)

    def _merged(self, images: list[Maps], truths: list[Maps]) -> Statistics:
        judge = replace(self, map_images=map)  # an object sent to processes must not contain the pool
        parts = list(self.map_images(judge.counts, images, truths))
        if not parts or not parts[0]:
            return {}
        return merge({name: np.asarray(value)[None] for name, value in part.items()} for part in parts)

    def counts(self, maps: Maps, truth: Maps) -> Statistics:
        """Return the statistics of one image's `maps`; void pixels of `truth` never count."""
        known = {name: (target[..., 0] if target.ndim == 3 else target) != VOID for name, target in truth.items()}
        found: Statistics = {}
        if self.distances and {"semseg", "depth", "normals"} <= maps.keys():
            valid = known["depth"] & known["normals"]
            of_depth = normals_from_depth(maps["depth"], self.camera(*maps["depth"].shape))
            of_depth[of_depth[..., 0] == VOID] = 0  # no plane fits: no direction
            of_depth[~np.isfinite(maps["depth"])] = np.nan
            boundary = edges_from_labels(truth["semseg"]) == 1
            reach = self.tolerance * float(np.hypot(*boundary.shape))
            near = np.asarray(distance_transform_edt(~boundary)) <= reach if boundary.any() else boundary
            found |= coherence.geometry(maps["normals"], of_depth, valid, near)
        if "semseg" in maps:
            labels = np.where(known["semseg"], maps["semseg"], VOID)
            found |= coherence.boundaries(self._strengths(maps, known), edges_from_labels(labels) == 1, self.tolerance)
            if self.person is not None:
                judged = [name for name in ("semseg", "human_parts", "sal") if name in maps]
                parts, salient = maps.get("human_parts"), maps.get("sal")
                found |= coherence.people(
                    maps["semseg"] == self.person,
                    None if parts is None else parts > 0,
                    None if salient is None else salient > _SALIENT,
                    np.logical_and.reduce([known[name] for name in judged]),
                )
        return found

    def _strengths(self, maps: Maps, known: dict[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.float64]]:
        """Strengths of the discontinuities that should lie on segmentation boundaries; 0 where a truth is void."""
        makers = {"depth": coherence.depth_contrast, "normals": coherence.normals_contrast, "edge": np.asarray}
        return {
            name: np.nan_to_num(np.where(known[name] & known["semseg"], make(_without_void(maps[name])), 0))
            for name, make in makers.items()
            if name in maps
        }


def _without_void(values: NDArray[Any]) -> NDArray[Any]:
    """Give void pixels of a truth (H, W) or (H, W, C) the nearest value: void borders are not discontinuities."""
    void = (values if values.ndim == 2 else values[..., 0]) == VOID
    if not void.any() or void.all():
        return values
    nearest = distance_transform_edt(void, return_distances=False, return_indices=True)
    return values[tuple(np.asarray(nearest))]


def coherence_meter(
    config: RunConfig, packaging: Mapping[str, Any], map_images: Callable[..., Any] = map
) -> CoherenceMeter:
    """Return the meter for a data set with the record `packaging`."""
    names = class_names(config.layout, config.task_list, packaging)
    classes = names.get("semseg", ())
    person = classes.index("person") if "human_parts" in names and "person" in classes else None
    distances = not any(task.disparity for task in config.task_list if task.name == "depth")
    camera = partial(camera_of, config.layout, packaging)
    return CoherenceMeter(config.evaluation.edge_tolerance, camera, person, map_images, distances)


def _decoded(task: str, prediction: Tensor) -> Tensor:
    """Turn a network's output (B, C, H, W) into labels, values or probabilities (B, H, W), or unit normals."""
    if task in CLASSES:
        return prediction.argmax(dim=1)
    if task == "normals":
        return torch.nn.functional.normalize(prediction, dim=1)
    return prediction[:, 0].clamp(min=_NEAREST) if task == "depth" else prediction[:, 0].sigmoid()


def _truths(targets: Mapping[str, Tensor]) -> list[Maps]:
    return _by_image(
        {name: target if name in CLASSES else target.squeeze(1) for name, target in targets.items() if name in _TASKS}
    )


def _by_image(maps: Mapping[str, Tensor]) -> list[Maps]:
    """One dictionary of NumPy maps per image; channels, if any, come last."""
    arrays = {
        name: np.moveaxis(values.cpu().numpy(), 1, -1) if values.ndim == 4 else values.cpu().numpy()
        for name, values in maps.items()
    }
    count = min((len(values) for values in arrays.values()), default=0)
    return [{name: values[k] for name, values in arrays.items()} for k in range(count)]
