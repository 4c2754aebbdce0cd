"""Pipelines of diffusers that read texts: prompts are the labels of a task, and its student draws in one step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from json_files import change
from torch import Tensor

import sansdata
from sansdata.errors import SansdataError, TaskError, TeacherError, UnsafeFileError
from sansdata.models.diffusion.one_step import OneStep
from sansdata.models.diffusion.unets import TextUNet
from sansdata.tasks import load_task
from sansdata.teachers.pipeline import pipeline_files
from sansdata.teachers.specs import load_teacher

pytestmark = pytest.mark.long
"""Both libraries take many seconds to import."""
PROMPTS = ("a cat", "a red shoe", "shoe cat shoe cat shoe cat shoe cat")
TASK = {
    "inputs": {"kind": "noise", "shape": [4, 8, 8], "label_names": PROMPTS},
    "outputs": {"kind": "field", "range": [-3, 3], "steps": 4},
}  # fmt: skip
LENGTH = 12
WORDS = ("a", "cat", "red", "shoe")


def written(diffusers: Any, transformers: Any, place: Path) -> Path:
    """A small Stable Diffusion: CLIP's tokenizer and text encoder, a UNet that attends to texts, a VAE."""
    letters = sorted({letter for word in WORDS for letter in word})
    pieces = [*letters, *(letter + "</w>" for letter in letters)]
    place.mkdir(parents=True)
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    (place / "vocab.json").write_text(json.dumps(vocabulary))
    (place / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        vocab=str(place / "vocab.json"), merges=str(place / "merges.txt"), model_max_length=LENGTH
    )
    numbers: dict[str, Any] = {
        "bos_token_id": len(pieces),
        "eos_token_id": len(pieces) + 1,
        "pad_token_id": len(pieces) + 1,
    }
    config = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=LENGTH, projection_dim=16, **numbers,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = {
            "text_encoder": transformers.CLIPTextModel(config).eval(),
            "unet": diffusers.UNet2DConditionModel(
                sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
                norm_num_groups=4, attention_head_dim=4, cross_attention_dim=16,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            ),
            "vae": diffusers.AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=4),
        }  # fmt: skip
    scheduler = diffusers.PNDMScheduler(
        num_train_timesteps=100, beta_end=0.1, prediction_type="epsilon", skip_prk_steps=True, steps_offset=1
    )
    for name in ("vocab.json", "merges.txt"):
        (place / name).unlink()
    pipeline = diffusers.StableDiffusionPipeline(
        tokenizer=tokenizer, scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False, **parts,
    )  # fmt: skip
    pipeline.save_pretrained(str(place), safe_serialization=True)
    return place


@pytest.fixture(scope="module")
def folder(diffusers: Any, transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(diffusers, transformers, tmp_path_factory.mktemp("texts") / "teacher")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def noise(count: int = 3) -> Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def of_library(diffusers: Any, folder: Path, **parts: Any) -> Any:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(str(folder), safety_checker=None, **parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawing(file: str, folder: Path, diffusers: Any) -> Any:
    """The teacher's own pipeline with what was exported in the place of its UNet and its scheduler."""
    return of_library(
        diffusers, folder,
        unet=diffusers.UNet2DConditionModel.from_pretrained(file, subfolder="unet"),
        scheduler=diffusers.DDIMScheduler.from_pretrained(file, subfolder="scheduler"),
    )  # fmt: skip


def test_prompts_are_read_as_the_library_reads_them(folder: Path, diffusers: Any) -> None:
    task = load_task(TASK)
    assert task.inputs.labels == 3
    assert all(path.is_file() for path in pipeline_files(folder))
    teacher = load_teacher(str(folder), task)
    denoiser, own = teacher.capability("denoises"), of_library(diffusers, folder)
    assert isinstance(denoiser.network, TextUNet)
    assert denoiser.null == 3
    told, untold = own.encode_prompt(list(PROMPTS), "cpu", 1, True)
    with torch.no_grad():
        assert torch.allclose(denoiser.network.texts[:3], told, atol=1e-6)
        assert torch.allclose(denoiser.network.texts[3], untold[0], atol=1e-6)
        sought = own.unet(noise(), torch.tensor(70), told).sample
        assert torch.allclose(denoiser.ask(noise(), torch.full((3,), 70.0), torch.arange(3)), sought, atol=1e-6)
    assert any("1 of 3 prompts are longer than 12 tokens" in note for note in teacher.notes)
    assert any("latents" in note for note in teacher.notes)


@pytest.mark.parametrize("guidance", [None, 3.0])
def test_the_teachers_own_pipeline_draws_with_the_student_in_one_step(
    guidance: float | None, folder: Path, diffusers: Any, tmp_path: Path
) -> None:
    options = {"warmup": 1, "guidance": guidance, "transfer": {"batch": 4, "lr": 0.01}}
    sansdata.distill(
        str(folder), "one-step", "boot", "4steps", tmp_path / "run", task=TASK, strict=True, options=options,
        settings={"threads": 1, "device": "cpu"},
    )  # fmt: skip
    student = sansdata.load(tmp_path / "run").student.eval()
    assert isinstance(student, OneStep)
    made = drawing(sansdata.export(tmp_path / "run", "diffusers").file, folder, diffusers)(
        list(PROMPTS), num_inference_steps=1, guidance_scale=1.0, latents=noise(), output_type="latent"
    ).images  # fmt: skip
    with torch.no_grad():
        assert torch.allclose(student(noise(), label=torch.arange(3)), made, atol=1e-4)
        other = student(noise(), label=torch.arange(3).flip(0))
    assert not torch.allclose(other[0], made[0], atol=1e-6)


def test_guidance_of_a_range_is_the_pipelines_own_setting(folder: Path, diffusers: Any, tmp_path: Path) -> None:
    options = {"warmup": 1, "guidance": [1.0, 5.0], "transfer": {"batch": 4, "lr": 0.01}}
    sansdata.distill(
        str(folder), "one-step", "boot", "4steps", tmp_path / "run", task=TASK, strict=True, options=options,
        settings={"threads": 1, "device": "cpu"},
    )  # fmt: skip
    student = sansdata.load(tmp_path / "run").student.eval()
    made = drawing(sansdata.export(tmp_path / "run", "diffusers").file, folder, diffusers)(
        list(PROMPTS), num_inference_steps=1, guidance_scale=4.0, latents=noise(), output_type="latent"
    ).images  # fmt: skip
    with torch.no_grad():
        told = {strength: torch.full((3,), strength) for strength in (2.0, 4.0)}
        asked = {strength: student(noise(), label=torch.arange(3), guidance=told[strength]) for strength in told}
    assert torch.allclose(asked[4.0], made, atol=1e-4)
    assert not torch.allclose(asked[2.0], made, atol=1e-5)


def test_adapters_stand_beside_its_attention_to_texts(folder: Path, diffusers: Any, tmp_path: Path) -> None:
    sansdata.distill(
        str(folder), "lora:2", "boot", "3steps", tmp_path / "run", task=TASK, strict=True,
        options={"warmup": 1, "transfer": {"batch": 4, "lr": 0.01}}, settings={"threads": 1, "device": "cpu"},
    )  # fmt: skip
    done = sansdata.export(tmp_path / "run", "adapters")
    assert Path(done.file).is_file()
    sansdata.export(tmp_path / "run", "diffusers")


def test_weights_in_half_precision_are_computed_with_in_full(copied: Path, transformers: Any) -> None:
    place = str(copied / "text_encoder")
    transformers.CLIPTextModel.from_pretrained(place, dtype=torch.float16).save_pretrained(place)
    whole = transformers.CLIPTextModel.from_pretrained(place, dtype=torch.float32)
    network: Any = load_teacher(str(copied), load_task(TASK)).capability("denoises").network
    tokenizer = transformers.CLIPTokenizer.from_pretrained(str(copied / "tokenizer"))
    ids = tokenizer([""], padding="max_length", max_length=LENGTH, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.allclose(network.texts[3], whole(ids)[0][0], atol=1e-6)


@pytest.mark.parametrize(
    ("file", "fields", "error", "said"),
    [
        ("model_index.json", {"text_encoder": ["mine", "Encoder"]}, UnsafeFileError, "code of the folder"),
        ("model_index.json", {"text_encoder_2": ["transformers", "CLIPTextModel"]}, TeacherError, "text_encoder_2"),
        ("model_index.json", {"text_encoder": [None, None]}, TeacherError, "text encoder and its tokenizer"),
        ("unet/config.json", {"addition_embed_type": "text"}, TeacherError, "more than texts"),
        ("unet/config.json", {"cross_attention_dim": 24}, TeacherError, "24 numbers a token"),
        ("text_encoder/config.json", {"architectures": ["T5EncoderModel"]}, TeacherError, "T5EncoderModel"),
        ("text_encoder/config.json", {"auto_map": {"AutoModel": "a.B"}}, UnsafeFileError, "auto_map"),
        ("text_encoder/config.json", {"hidden_size": 10**6}, TeacherError, "cannot be read"),
        ("tokenizer/tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["a.B"]}}, UnsafeFileError, "auto_map"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_said(
    file: str, fields: dict[str, Any], error: type[SansdataError], said: str, copied: Path
) -> None:
    change(copied / file, **fields)
    with pytest.raises(error, match=said):
        load_teacher(str(copied), load_task(TASK))


@pytest.mark.parametrize(
    ("missing", "said"),
    [("text_encoder/model.safetensors", "model.safetensors"), ("tokenizer", "tokenizer")],
)  # fmt: skip
def test_a_part_that_is_missing_is_named(missing: str, said: str, copied: Path) -> None:
    place = copied / missing
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises((TeacherError, UnsafeFileError), match=said):
        load_teacher(str(copied), load_task(TASK))


def test_texts_are_asked_for_by_name(folder: Path) -> None:
    nameless: dict[str, Any] = {"inputs": {"kind": "noise", "shape": [4, 8, 8]}, "outputs": TASK["outputs"]}
    with pytest.raises(TeacherError, match="label_names"):
        load_teacher(str(folder), load_task(nameless))
    with pytest.raises(TaskError, match="3 names for 2 labels"):
        load_task({**nameless, "inputs": {**nameless["inputs"], "labels": 2, "label_names": PROMPTS}})
