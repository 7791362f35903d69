from typing import Any

Mask2FormerMaskPredictor: Any
Mask2FormerPixelDecoderEncoderLayer: Any
