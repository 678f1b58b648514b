import math

import keras
import numpy as np
import pytest

from detl.pretraining.optimizer import cosine_adam


@pytest.mark.parametrize(("steps", "epochs", "warmup_epochs"), [(10, 5, 1), (7, 3, 0.5), (4, 4, 0)])
def test_the_rate_rises_linearly_and_then_falls_along_a_cosine_to_zero(
    steps, epochs, warmup_epochs
):
    rate = cosine_adam(
        2e-3, steps=steps, epochs=epochs, warmup_epochs=warmup_epochs, gradient_clip=1.0
    )._learning_rate
    warm = round(warmup_epochs * steps)
    for step in range(steps * epochs + 1):
        if step < warm:
            expected = 2e-3 * step / warm
        else:
            done = (step - warm) / (steps * epochs - warm)
            expected = 2e-3 * (1 + math.cos(math.pi * done)) / 2
        assert float(rate(step)) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_a_training_of_one_step_takes_it_at_the_full_rate():
    rate = cosine_adam(2e-3, steps=1, epochs=1, warmup_epochs=1, gradient_clip=1.0)._learning_rate
    assert float(rate(0)) == pytest.approx(2e-3)


@pytest.mark.parametrize("gradient_clip", [None, 0.5])
def test_the_gradient_is_clipped_by_its_global_norm_or_not_at_all(gradient_clip):
    optimizer = cosine_adam(1e-3, steps=1, epochs=1, warmup_epochs=0, gradient_clip=gradient_clip)
    assert optimizer.global_clipnorm == gradient_clip
    gradients = [keras.ops.convert_to_tensor([value]) for value in (3.0, 4.0)]
    clipped = [float(part[0]) for part in optimizer._clip_gradients(gradients)]
    np.testing.assert_allclose(clipped, [3, 4] if gradient_clip is None else [0.3, 0.4], rtol=1e-6)
