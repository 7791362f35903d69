# What is used of transformers. The library's own hints are read with its whole catalogue of models, which takes a
# checker a fifth of its time, and leave out what a model is made of.
from typing import Any

from torch import nn

class Mask2FormerConfig:
    def __init__(self, **settings: Any) -> None: ...

class Mask2FormerModel(nn.Module):
    config: Any
    pixel_level_module: Any
    transformer_module: Any
    def __init__(self, config: Mask2FormerConfig) -> None: ...
    @classmethod
    def from_pretrained(cls, source: str, **options: Any) -> Any: ...
