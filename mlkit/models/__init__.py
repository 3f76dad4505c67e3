"""The named networks, each a page of code. `model.summary(shape)` shows what one consists of."""

from .autoencoder import VAE, Autoencoder
from .detector import (
    Detector,
    Found,
    Scene,
    intersection_over_union,
    mean_average_precision,
    non_maximum_suppression,
    scenes,
)
from .image import AlexNet, GoogLeNet, LeNet5, ResNet, SmallResNet, VGGNet
from .perceptron import MLP, Perceptron, least_squares, xor
from .text import GPT, BagOfWords, CharLSTM, TransformerClassifier, sampled

__all__ = [
    "GPT",
    "MLP",
    "VAE",
    "AlexNet",
    "Autoencoder",
    "BagOfWords",
    "CharLSTM",
    "Detector",
    "Found",
    "GoogLeNet",
    "LeNet5",
    "Perceptron",
    "ResNet",
    "Scene",
    "SmallResNet",
    "TransformerClassifier",
    "VGGNet",
    "intersection_over_union",
    "least_squares",
    "mean_average_precision",
    "non_maximum_suppression",
    "sampled",
    "scenes",
    "xor",
]
