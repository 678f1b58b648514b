"""The number format is the one asked for, or the one that the processor multiplies natively."""

from pathlib import Path

import keras
import pytest

from detl.networks import devices
from detl.networks.precision import dtype_policy


@pytest.fixture
def processor(monkeypatch):
    """Return a function that sets what Linux says of the processor."""

    def says(flags):
        def read_text(path, **settings):
            assert path == Path("/proc/cpuinfo")
            if flags is None:
                raise FileNotFoundError(path)
            return f"processor : 0\nflags : fpu sse2 {flags} ht\n"

        monkeypatch.setattr(Path, "read_text", read_text)

    return says


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("flags", ["avx2", "amx_bf16"])
def test_a_named_precision_is_kept_on_every_processor_and_its_weights_are_single(
    processor, precision, flags
):
    processor(flags)
    policy = keras.DTypePolicy(dtype_policy(precision))
    assert policy.name == precision
    assert policy.variable_dtype == "float32"
    assert policy.compute_dtype == precision.removeprefix("mixed_")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx512_bf16", "mixed_bfloat16"),
        ("amx_bf16", "mixed_bfloat16"),
        ("asimd bf16", "mixed_bfloat16"),
        ("avx2 avx512f", "float32"),
        (None, "float32"),
    ],
    ids=["x86", "x86 with matrix unit", "Arm", "none", "not Linux"],
)
def test_auto_is_bfloat16_where_the_processor_has_units_for_it_and_says_so(
    processor, caplog, flags, expected
):
    processor(flags)
    with caplog.at_level("INFO", logger="detl"):
        assert dtype_policy("auto") == expected
    assert caplog.messages == [f"precision='auto' chose {expected} for this machine."]


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((7, 5), "float32"),
        ((8, 0), "mixed_bfloat16"),
        ((9, 0), "mixed_bfloat16"),
        (None, "float32"),
    ],
    ids=["Turing", "Ampere", "Hopper", "does not say"],
)
def test_auto_asks_the_gpu_where_there_is_one_and_not_the_processor(
    processor, monkeypatch, capability, expected
):
    tf = pytest.importorskip("tensorflow")
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    processor("amx_bf16" if expected == "float32" else "avx2")
    monkeypatch.setattr(devices, "device_kind", lambda: "gpu")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    details = {} if capability is None else {"compute_capability": capability}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert dtype_policy("auto") == expected


def test_a_tpu_multiplies_bfloat16(processor, monkeypatch):
    processor("avx2")
    monkeypatch.setattr(devices, "device_kind", lambda: "tpu")
    assert dtype_policy("auto") == "mixed_bfloat16"


def test_the_device_of_this_process_is_named():
    assert devices.device_kind() in ("cpu", "gpu", "tpu")


@pytest.mark.parametrize("precision", ["float16", "bfloat16", None])
def test_other_precisions_are_refused(precision):
    with pytest.raises(
        ValueError, match=r"precision=.*; expected one of 'float32', 'mixed_bfloat16', 'auto'"
    ):
        dtype_policy(precision)
