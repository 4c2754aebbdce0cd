"""The one table of recipes; each is data in a file of its own."""

from ...errors import ConfigError, did_you_mean
from .abd import ABD
from .af_stip import AF_STIP
from .af_stip_migration import AF_STIP_MIGRATION
from .batchnorm import BATCHNORM_CIFAR10, BATCHNORM_DIGITS
from .bidf_mkd import BIDF_MKD, BIDF_MKD_CIFAR100
from .black_box import BLACK_BOX, BLACK_BOX_FASHION
from .boot import BOOT_FASHION, BOOT_MNIST, BOOT_RING, BOOT_RING_CALLS
from .cae_dfkd import CAE_DFKD
from .cifar10_resnet56 import CIFAR10_RESNET56
from .combinations import COMBINATIONS
from .connected_digits import CONNECTED_DIGITS
from .dfq import DFQ
from .diffdfkd import DIFFDFKD, DIFFDFKD_FASHION
from .echo_dfkd import ECHO
from .fair4free import ADULT_ROWS, FASHION_PICTURES, GERMAN_ROWS
from .faqd import FAQD, FAQD_CIFAR10
from .fashion_mnist import FASHION_MNIST
from .fedd2s import FEDD2S
from .fedftg import FEDFTG, FEDFTG_DIGITS
from .fedgen import FEDGEN, FEDGEN_CIFAR10
from .kd3 import KD3
from .mechanisms import MECHANISMS
from .mixmix import MIXMIX, MIXMIX_CIFAR10
from .mnist_lenet5 import MNIST_LENET5
from .model import Recipe
from .one_language import ONE_LANGUAGE
from .pitch import PITCH
from .promptdfd import PROMPTDFD
from .retain import RETAIN
from .second_student import SECOND_STUDENT
from .segmentation import MEMBRANES, STREETS
from .spoken_digits import SPOKEN_DIGITS
from .tables import ADULT, BREAST_CANCER, GERMAN_CREDIT, MAMMOGRAPHY, WINE
from .text_dfkd import TEXT_DFKD
from .zerogen import ZEROGEN, ZEROGEN_NEWS, ZEROGEN_TREC
from .zerogen_pairs import ZEROGEN_PAIRS
from .zerogen_qa import ZEROGEN_QA

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        FASHION_MNIST,
        MNIST_LENET5,
        CIFAR10_RESNET56,
        BATCHNORM_DIGITS,
        BATCHNORM_CIFAR10,
        MECHANISMS,
        SECOND_STUDENT,
        MIXMIX,
        MIXMIX_CIFAR10,
        COMBINATIONS,
        CAE_DFKD,
        KD3,
        FEDGEN,
        FEDGEN_CIFAR10,
        FEDFTG,
        FEDFTG_DIGITS,
        FEDD2S,
        RETAIN,
        MEMBRANES,
        STREETS,
        ECHO,
        ABD,
        FAQD,
        FAQD_CIFAR10,
        BREAST_CANCER,
        ADULT,
        MAMMOGRAPHY,
        WINE,
        GERMAN_CREDIT,
        ADULT_ROWS,
        GERMAN_ROWS,
        FASHION_PICTURES,
        DFQ,
        SPOKEN_DIGITS,
        CONNECTED_DIGITS,
        PITCH,
        TEXT_DFKD,
        AF_STIP,
        AF_STIP_MIGRATION,
        ZEROGEN,
        ZEROGEN_TREC,
        ZEROGEN_NEWS,
        ZEROGEN_PAIRS,
        ZEROGEN_QA,
        PROMPTDFD,
        ONE_LANGUAGE,
        BOOT_RING,
        BOOT_RING_CALLS,
        BOOT_MNIST,
        BOOT_FASHION,
        DIFFDFKD,
        DIFFDFKD_FASHION,
        BLACK_BOX,
        BLACK_BOX_FASHION,
        BIDF_MKD,
        BIDF_MKD_CIFAR100,
    )
}


def find_recipe(name: str) -> Recipe:
    """Raises ConfigError for an unknown name, with the nearest."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}'. {did_you_mean(name, RECIPES)}")
    return RECIPES[name]
