"""The normalisation of input images."""

from typing import Final

#: ImageNet's mean and standard deviation per channel (red, green, blue) of images in [0, 1].
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
