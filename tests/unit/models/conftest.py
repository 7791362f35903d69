"""What several tests of networks build on."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def small_mask2former() -> dict[str, Any]:
    """Arguments of a Mask2Former that is built and run in a moment."""
    return {
        "backbone_config": {
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 2, 2],
            "image_size": 224,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        "encoder_layers": 1,
        "decoder_layers": 3,
        "feature_size": 32,
        "mask_feature_size": 32,
        "hidden_dim": 32,
        "encoder_feedforward_dim": 32,
        "dim_feedforward": 32,
        "num_queries": 7,
    }
