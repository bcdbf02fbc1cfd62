"""A ResNet-18 without its classifier, and images of noise for it."""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18


def network() -> nn.Module:
    """The same weights each time."""
    torch.manual_seed(0)
    model = resnet18()
    model.fc = nn.Identity()
    return model


def images(count: int = 3) -> Tensor:
    """[count, 3, 48, 48], the same each time."""
    return torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(1))
