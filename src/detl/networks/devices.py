"""The device that Keras computes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

# A capability of 8.0 is NVIDIA's Ampere of 2020, the first with matrix units for bfloat16.
_AMPERE = (8, 0)


def device_kind() -> str:
    """Return the kind of device that Keras computes on: ``"cpu"``, ``"gpu"`` or ``"tpu"``."""
    name = str(keras.ops.zeros(1).device).lower()
    kinds = {"gpu": "gpu", "cuda": "gpu", "rocm": "gpu", "mps": "gpu", "metal": "gpu", "tpu": "tpu"}
    return next((kind for part, kind in kinds.items() if part in name), "cpu")


def has_bfloat16_units() -> bool:
    """Whether that device multiplies bfloat16 natively; False where it does not say."""
    kind = device_kind()
    if kind == "tpu":
        return True
    if kind == "gpu":
        return _of_gpu(keras.backend.backend()) >= _AMPERE
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return any(f" {unit}" in flags for unit in ("amx_bf16", "avx512_bf16", "bf16"))


def _of_gpu(backend: str) -> tuple[int, ...]:
    """Return the compute capability of the first GPU, (0,) where there is none to read."""
    found: Any = (0,)
    if backend == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        found = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0,))
    elif backend == "jax":
        import jax

        said = str(getattr(jax.devices()[0], "compute_capability", "0"))  # "9.0"
        found = said.split(".") if said.replace(".", "").isdigit() else (0,)
    elif backend == "torch":
        import torch

        found = torch.cuda.get_device_capability() if torch.cuda.is_available() else (0,)
    return tuple(map(int, found))
