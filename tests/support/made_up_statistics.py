"""Made-up statistics per test image, written as evaluation writes its own."""

import numpy as np

IMAGES = 40


def write_statistics(run, shift=0.0, ids=None):
    """Statistics of 40 images of 100 pixels; `shift` is taken from every error."""
    rng = np.random.default_rng(5)
    share = np.clip(rng.normal(0.6, 0.1, (IMAGES, 13)) + shift, 0, 1)
    angles = rng.normal(25, 6, IMAGES) - 10 * shift
    hits = np.linspace(40, 60, 99) * np.ones((IMAGES, 1)) + 20 * shift
    arrays = {
        "ids": np.array(ids or [f"image{number}" for number in range(IMAGES)]),
        "final/semseg/tp": 100 * share,
        "final/semseg/fp": 100 * (1 - share),
        "final/semseg/fn": 100 * (1 - share),
        "final/depth/squared": 100 * (rng.normal(0.5, 0.1, IMAGES) - shift) ** 2,
        "final/depth/log_squared": np.ones(IMAGES),
        "final/depth/pixels": np.full(IMAGES, 100),
        "final/depth/squared_capped": np.ones(IMAGES),
        "final/depth/log_squared_capped": np.ones(IMAGES),
        "final/depth/pixels_capped": np.full(IMAGES, 100),
        "final/depth/absolute": np.ones(IMAGES),
        "final/depth/relative": np.ones(IMAGES),
        **{f"final/depth/within_1_25{power}": np.full(IMAGES, 50) for power in ("", "_2", "_3")},
        "final/normals/angle": 100 * angles,
        "final/normals/angle_squared": 100 * angles**2,
        "final/normals/pixels": np.full(IMAGES, 100),
        "final/normals/bins_1": np.tile(np.arange(18_000) < 100, (IMAGES, 1)).astype(np.uint8),
        "final/normals/bins_256": np.zeros((IMAGES, 0), dtype=np.uint16),
        "final/edge/predicted": np.full((IMAGES, 99), 100),
        "final/edge/matched_predicted": hits,
        "final/edge/matched_true": hits,
        "final/edge/true": np.full(IMAGES, 100),
    }
    arrays |= {
        f"final/{task}/non_finite": np.zeros(IMAGES, dtype=int) for task in ("semseg", "depth", "normals", "edge")
    }
    np.savez(run.images_path, **arrays)
