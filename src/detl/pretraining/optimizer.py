"""How the rate of the source stage goes: up, then down along a cosine."""

from __future__ import annotations

import keras

from detl.networks.optimizers import Adam


def cosine_adam(
    learning_rate: float,
    *,
    steps: int,
    epochs: int,
    warmup_epochs: float,
    gradient_clip: float | None,
    ema_epochs: float | None = None,
) -> Adam:
    """Return Adam whose rate rises linearly for ``warmup_epochs``, then falls along a cosine to 0.

    An epoch has so many ``steps``. Averages of the weights span about ``ema_epochs``.
    """
    warmup_steps = min(round(warmup_epochs * steps), steps * epochs - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup_steps else learning_rate,
        decay_steps=max(1, steps * epochs - warmup_steps),
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    if ema_epochs is None:
        return Adam(schedule, global_clipnorm=gradient_clip)
    momentum = max(0.0, 1 - 1 / (ema_epochs * steps))
    return Adam(schedule, global_clipnorm=gradient_clip, use_ema=True, ema_momentum=momentum)
