"""WAV files of every form that is read, and files that are none."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from sansdata.decoding.wav import parse_wav, read_wav, resampled, wav_bytes
from sansdata.errors import DataError

SOUND = (8000 * np.sin(np.arange(400) / 7)).astype(np.int16)


def form(code: int, channels: int, rate: int, bits: int, data: bytes, claimed: int | None = None) -> bytes:
    width = channels * bits // 8
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, channels, rate, rate * width, width, bits)
    size = len(data) if claimed is None else claimed
    body = b"WAVE" + head + struct.pack("<4sI", b"data", size) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def test_what_is_written_is_read_by_the_standard_library_and_by_us(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(SOUND, 8000))
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert np.array_equal(np.frombuffer(file.readframes(500), np.int16), SOUND)
    samples, rate = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    assert np.array_equal(samples, SOUND)


@pytest.mark.parametrize(("code", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_every_form_says_the_same(code: int, bits: int) -> None:
    unit = SOUND / 32768
    if code == 3:
        data = unit.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = ((unit + 1) * 128).round().astype(np.uint8).tobytes()
    elif bits == 24:
        data = (SOUND.astype(np.int32) << 8).astype("<i4").tobytes()
        data = b"".join(data[place : place + 3] for place in range(0, len(data), 4))
    else:
        data = (SOUND.astype(np.int64) << (bits - 16)).astype(f"<i{bits // 8}").tobytes()
    samples, _ = parse_wav(form(code, 1, 16000, bits, data), "here")
    assert np.abs(samples.astype(int) - SOUND).max() <= (130 if bits == 8 else 0)


def test_channels_are_averaged_and_a_size_that_a_pipe_could_not_know_is_cut() -> None:
    both = np.stack([SOUND, np.zeros_like(SOUND)], 1).tobytes()
    samples, _ = parse_wav(form(1, 2, 8000, 16, both, claimed=0x7FFFFFFF), "here")
    assert np.abs(samples - SOUND / 2).max() <= 0.5


@pytest.mark.parametrize(
    "content",
    [
        b"", b"RIFF", b"RIFF\0\0\0\0WAVE", form(1, 0, 8000, 16, b""), form(2, 1, 8000, 4, b"ab"),
        form(1, 1, 4, 16, b"ab"), form(1, 999, 8000, 16, b"ab"), b"RIFF\0\0\0\0WAVEdata\1\0\0\0a",
    ],
)  # fmt: skip
def test_what_is_no_sound_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.wav"):
        read_wav(tmp_path / "bad.wav")


@pytest.mark.parametrize("own", [8000, 11025, 44100, 16000])
def test_of_a_long_sound_only_what_is_wanted_is_resampled(own: int, tmp_path: Path) -> None:
    long = (9000 * np.random.default_rng(0).uniform(-1, 1, 30_000)).astype(np.int16)
    (tmp_path / "a.wav").write_bytes(wav_bytes(long, own))
    whole = long if own == 16_000 else resampled(long, own, 16_000)
    for most in (1, 777, 100_000):
        assert np.array_equal(read_wav(tmp_path / "a.wav", 16_000, most)[0], whole[:most])


def test_a_low_rate_that_a_file_claims_makes_no_gigabytes() -> None:
    content = form(1, 1, 100, 8, b"\x80" * 400_000)
    with pytest.raises(DataError, match="100 samples a second would become 64,000,000"):
        parse_wav(content, "here", 16_000)
    assert len(parse_wav(content, "here", 16_000, 5000)[0]) == 5000


def test_links_and_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(SOUND, 8000))
    (tmp_path / "b.wav").symlink_to(tmp_path / "a.wav")
    for path in (tmp_path / "b.wav", tmp_path, tmp_path / "none.wav"):
        with pytest.raises(DataError):
            read_wav(path)


def test_a_tone_keeps_its_frequency_at_another_rate() -> None:
    tone = (9000 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)).astype(np.int16)
    other = resampled(tone, 22050, 8000)
    assert len(other) == 8000
    assert np.argmax(np.abs(np.fft.rfft(other.astype(float)))) == 440
    assert io.BytesIO(wav_bytes(other, 8000)).read(4) == b"RIFF"
