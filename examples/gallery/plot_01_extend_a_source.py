"""
Extend a source to rarer classes
================================

How many images does a new class need if the network already knows the domain? Here a small network
learns the digits 0 to 6. It is then extended to 7, 8 and 9, with 20 images each.
"""

# %%
# Train the source
# ----------------
import matplotlib.pyplot as plt
import numpy as np

from detl import DomainExtensionTransfer, backbones, datasets, pretrain, recipes

source_set, target_set = datasets.load_digits(size=32)
source = pretrain(
    backbones.vgg16((32, 32, 1), width=0.0625),
    source_set.images,
    source_set.labels,
    epochs=6,
    random_state=0,
    verbose=0,
)
print(f"validation accuracy on 0 to 6: {max(source.history['val_accuracy']):.2f}")

# %%
# Extend it
# ---------
# Twenty images of each new digit train the last block. All others test it.
rows = np.concatenate([np.flatnonzero(target_set.labels == name)[:20] for name in (7, 8, 9)])
rest = np.setdiff1d(np.arange(len(target_set.labels)), rows)
extended = DomainExtensionTransfer(source, random_state=0)
extended.fit(target_set.images[rows], target_set.labels[rows])
print(f"extended: {extended.score(target_set.images[rest], target_set.labels[rest]):.3f}")

# %%
# Compare with no source
# ----------------------
scratch = recipes.from_scratch(source, random_state=0)
scratch.fit(target_set.images[rows], target_set.labels[rows])
print(f"from scratch: {scratch.score(target_set.images[rest], target_set.labels[rest]):.3f}")

# %%
# Which digits does the extended network get wrong?
predicted = extended.predict(target_set.images[rest])
wrong = rest[np.flatnonzero(predicted != target_set.labels[rest])[:6]]
figure, axes = plt.subplots(1, 6, figsize=(7, 1.6), layout="constrained")
for axis, row in zip(axes, wrong, strict=False):
    axis.imshow(target_set.images[row, ..., 0], cmap="gray")
    axis.set_title(f"{target_set.labels[row]} as {predicted[rest == row][0]}", fontsize="small")
for axis in axes:
    axis.set_axis_off()
figure
