"""The one table of recipes; each is data in a file of its own."""

from ...errors import ConfigError, did_you_mean
from .abd import ABD
from .cae_dfkd import CAE_DFKD
from .cifar10_resnet56 import CIFAR10_RESNET56
from .combinations import COMBINATIONS
from .fashion_mnist import FASHION_MNIST
from .fedd2s import FEDD2S
from .fedftg import FEDFTG
from .fedgen import FEDGEN, FEDGEN_CIFAR10
from .kd3 import KD3
from .mechanisms import MECHANISMS
from .mixmix import MIXMIX
from .mnist_lenet5 import MNIST_LENET5
from .model import Recipe
from .retain import RETAIN
from .tables import ADULT, BREAST_CANCER, GERMAN_CREDIT, MAMMOGRAPHY, WINE
from .zerogen import ZEROGEN

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        FASHION_MNIST,
        MNIST_LENET5,
        CIFAR10_RESNET56,
        MECHANISMS,
        MIXMIX,
        COMBINATIONS,
        CAE_DFKD,
        KD3,
        FEDGEN,
        FEDGEN_CIFAR10,
        FEDFTG,
        FEDD2S,
        RETAIN,
        ABD,
        BREAST_CANCER,
        ADULT,
        MAMMOGRAPHY,
        WINE,
        GERMAN_CREDIT,
        ZEROGEN,
    )
}


def find_recipe(name: str) -> Recipe:
    """Raises ConfigError for an unknown name, with the nearest."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}'. {did_you_mean(name, RECIPES)}")
    return RECIPES[name]
