"""Tiny worlds to distil in, one per pair of kinds: teachers and tasks of which a whole run takes a second."""

from __future__ import annotations

from ...tasks import NoiseSpec, PairTask, VectorsSpec
from ...teachers import autoencoder
from .autoencoders import LATENT, DecodedWorld, LatentsWorld, make_autoencoder, make_picture_autoencoder
from .base import ImageWorld, NoiseWorld, ReaderWorld, SpansWorld, World, make_module, make_student, zoo
from .panel import PanelWorld, make_panel_task
from .pool import make_pool, pool_images
from .tasks import (
    CLASSES,
    make_clips_task,
    make_masks_task,
    make_noise_task,
    make_sounds_task,
    make_spans_task,
    make_table_task,
    make_tags_task,
    make_task,
    make_tokens_task,
    make_transcripts_task,
    make_two_texts_task,
)
from .writers import (
    AskerWorld,
    TwoTextsWriterWorld,
    WordedWorld,
    WriterWorld,
    made_up_questions,
    made_up_texts,
    save_continuing_writer,
)

__all__ = [
    "CLASSES",
    "LATENT",
    "WORLDS",
    "AskerWorld",
    "DecodedWorld",
    "ImageWorld",
    "LatentsWorld",
    "NoiseWorld",
    "PanelWorld",
    "ReaderWorld",
    "SpansWorld",
    "TwoTextsWriterWorld",
    "WordedWorld",
    "World",
    "WriterWorld",
    "made_up_questions",
    "made_up_texts",
    "make_autoencoder",
    "make_clips_task",
    "make_masks_task",
    "make_module",
    "make_noise_task",
    "make_panel_task",
    "make_picture_autoencoder",
    "make_pool",
    "make_sounds_task",
    "make_spans_task",
    "make_student",
    "make_table_task",
    "make_tags_task",
    "make_task",
    "make_tokens_task",
    "make_transcripts_task",
    "make_two_texts_task",
    "pool_images",
    "save_continuing_writer",
    "zoo",
]

WORLDS: dict[str, World] = {
    "image": ImageWorld(make_task(), "resnet8"),
    "table": World(make_table_task(), "mlp-small"),
    "tokens": World(make_tokens_task(), "bag"),
    "writer": WriterWorld(),
    "writer-of-two": TwoTextsWriterWorld(),
    "asker": AskerWorld(),
    "worded": WordedWorld(),
    "spans": SpansWorld(make_spans_task(), "span-conv"),
    "two-texts": World(make_two_texts_task(), "siamese-bag"),
    "masks": World(make_masks_task(), "unet-small"),
    "clips": World(make_clips_task(), "convlstm-1x1"),
    "latents": LatentsWorld(
        PairTask(inputs=NoiseSpec(shape=(LATENT,)), outputs=VectorsSpec(size=LATENT)), "latent-mlp-small"
    ),
    "decoded": DecodedWorld(autoencoder.picture_task_of(make_picture_autoencoder()), "latents"),
    "noise": NoiseWorld(make_noise_task(), "ring"),
    "panel": PanelWorld(make_panel_task(), "conv4"),
    "sounds": World(make_sounds_task(), "mel-cnn-small"),
    "tags": World(make_tags_task(), "mel-cnn-small"),
    "transcripts": ReaderWorld(make_transcripts_task(), "recogniser"),
}
