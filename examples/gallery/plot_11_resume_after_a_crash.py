"""
Resume after a crash
====================

With ``checkpoint_dir`` each finished fold is kept. The same lines, started again, train only the
others, and give the same result to the last bit.
"""

# %%
# A callback breaks off the second fold, as a power cut would.
import shutil

import keras
import numpy as np

from detl import DomainExtensionTransfer, FoldError, cross_validate, datasets, load_source

_, target = datasets.load_phantoms()
source = load_source("source.keras")
fits = iter(range(99))


class PowerCut(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        if next(fits) == 1:
            raise RuntimeError("power cut")


def run(callbacks=None, folder="crashed"):
    classifier = DomainExtensionTransfer(source, epochs=5, callbacks=callbacks)
    return cross_validate(
        classifier,
        target.images,
        target.labels,
        groups=target.groups,
        n_splits=3,
        random_state=0,
        checkpoint_dir=folder,
        verbose=0,
    )


shutil.rmtree("crashed", ignore_errors=True)
shutil.rmtree("whole", ignore_errors=True)

# %%
cut = [PowerCut]


def cut_once():
    return [each() for each in cut]


try:
    run(cut_once)
except FoldError as error:
    print(error)
    print("finished folds:", sorted(error.finished))

# %%
cut.clear()
resumed = run(cut_once)
whole = run(cut_once, folder="whole")
print(np.array_equal(resumed.probabilities, whole.probabilities))

# %%
figure = resumed.plot()
figure
