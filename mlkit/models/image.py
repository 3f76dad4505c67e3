"""Networks that look at images; names in state dicts are torchvision's."""

from collections.abc import Sequence
from typing import Any

from .. import nn, ops
from ..errors import ArgumentError

VGG = {
    11: (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool"),
    16: (64, 64, "pool", 128, 128, "pool", *(256,) * 3, "pool", *(512,) * 3, "pool", *(512,) * 3, "pool"),
    19: (64, 64, "pool", 128, 128, "pool", *(256,) * 4, "pool", *(512,) * 4, "pool", *(512,) * 4, "pool"),
}


class LeNet5(nn.Sequential):
    """Handwritten digits, (N, 1, 28, 28): convolutions and subsampling in turn. Source: LeCun et al. 1998."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
            nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, num_classes),
        )  # fmt: skip


class AlexNet(nn.Module):
    """Photographs, (N, 3, 224, 224): the network that won ImageNet. Source: Krizhevsky 2014, as torchvision has it."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, num_classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.classifier(ops.reshape(self.avgpool(self.features(x)), len(x), -1))


class VGGNet(nn.Module):
    """Photographs: nothing but 3×3 convolutions and pools, 11, 16 or 19 layers deep. Source: Simonyan & Zisserman 2015."""

    def __init__(self, depth: int = 16, num_classes: int = 1000, dropout: float = 0.5) -> None:
        if depth not in VGG:
            raise ArgumentError(f"VGGNet: depth {depth} is none of {', '.join(map(str, VGG))}")
        layers: list[nn.Module] = []
        channels = 3
        for width in VGG[depth]:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        start_convolutions(self)

    def forward(self, x: Any) -> Any:
        return self.classifier(ops.reshape(self.avgpool(self.features(x)), len(x), -1))


def start_convolutions(model: nn.Module) -> None:
    """First values for convolutions before a ReLU: normal, the variance of the gradient kept (He et al. 2015)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class BasicConv2d(nn.Module):
    """A convolution, batch normalisation, a ReLU."""

    def __init__(self, channels: int, outputs: int, kernel_size: int, **options: Any) -> None:
        self.conv = nn.Conv2d(channels, outputs, kernel_size, bias=False, **options)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Any) -> Any:
        return self.bn.after(self.conv, x, activation="relu")


class Inception(nn.Module):
    """Four ways through, side by side: 1×1; 1×1 then 3×3, twice; a pool, then 1×1."""

    def __init__(self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> None:
        self.branch1 = BasicConv2d(channels, one, 1)
        self.branch2 = nn.Sequential(BasicConv2d(channels, three[0], 1), BasicConv2d(*three, 3, padding=1))
        self.branch3 = nn.Sequential(BasicConv2d(channels, five[0], 1), BasicConv2d(*five, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), BasicConv2d(channels, pool, 1))

    def forward(self, x: Any) -> Any:
        return ops.concatenate(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x), axis=1)


class GoogLeNet(nn.Module):
    """Photographs: blocks of several filter sizes side by side. Source: Szegedy et al. 2015, as torchvision has it.

    The auxiliary classifiers, which only help to train it from the start, are left out.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.2) -> None:
        self.conv1 = BasicConv2d(3, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x: Any) -> Any:
        for _, layer in list(self.children())[:-3]:
            x = layer(x)
        return self.fc(self.dropout(ops.reshape(self.avgpool(x), len(x), -1)))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, and the input added to what they make."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(channels, width, stride)

    def forward(self, x: Any) -> Any:
        y = self.bn1.after(self.conv1, x, activation="relu")
        return self.bn2.after(self.conv2, y, x if self.downsample is None else self.downsample(x), activation="relu")


class Bottleneck(nn.Module):
    """A 3×3 convolution between two of 1×1, which make it narrow, and the input added to what they make."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(channels, 4 * width, stride)

    def forward(self, x: Any) -> Any:
        y = self.bn1.after(self.conv1, x, activation="relu")
        y = self.bn2.after(self.conv2, y, activation="relu")
        return self.bn3.after(self.conv3, y, x if self.downsample is None else self.downsample(x), activation="relu")


def shortcut(channels: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What the input goes through where its shape must change."""
    if stride == 1 and channels == outputs:
        return None
    return nn.Sequential(nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


RESNET: dict[int, tuple[Any, tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """Photographs: blocks that learn what to add to their input, 18, 34, 50 or 101 layers deep. Source: He et al. 2016."""

    def __init__(self, depth: int = 18, num_classes: int = 1000) -> None:
        if depth not in RESNET:
            raise ArgumentError(f"ResNet: depth {depth} is none of {', '.join(map(str, RESNET))}")
        block, counts = RESNET[depth]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_stage(block, 64, 64, counts[0], 1)
        self.layer2 = residual_stage(block, 64 * block.expansion, 128, counts[1], 2)
        self.layer3 = residual_stage(block, 128 * block.expansion, 256, counts[2], 2)
        self.layer4 = residual_stage(block, 256 * block.expansion, 512, counts[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        start_convolutions(self)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.bn1.after(self.conv1, x, activation="relu"))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(ops.reshape(self.avgpool(x), len(x), -1))


class SmallResNet(nn.Module):
    """Small images, (N, C, 28, 28) or (N, C, 32, 32): stages of the given widths, each half as large as the one before.

    Source: He et al. 2016, section 4.2.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64), blocks: int = 1, channels: int = 3, num_classes: int = 10) -> None:
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = (widths[0], *widths[:-1])
        self.stages = [residual_stage(BasicBlock, a, b, blocks, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip(before, widths))]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)
        start_convolutions(self)

    def forward(self, x: Any) -> Any:
        x = self.bn1.after(self.conv1, x, activation="relu")
        for stage in self.stages:
            x = stage(x)
        return self.fc(ops.reshape(self.avgpool(x), len(x), -1))


def residual_stage(block: Any, channels: int, width: int, count: int, stride: int) -> nn.Sequential:
    """`count` blocks, the first of which changes the size."""
    first = block(channels, width, stride)
    return nn.Sequential(first, *(block(width * block.expansion, width) for _ in range(count - 1)))
