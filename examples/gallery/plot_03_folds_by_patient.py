"""
What is a leak worth?
=====================

Slices of one scan, frames of one video and follow-ups of one patient look alike. If they are on
both sides of a split, a classifier scores by recognising the patient.
"""

# %%
# Each phantom is photographed three times, with a little noise and shift.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from detl import cross_validate, datasets, folds

_, target = datasets.load_phantoms()
generator = np.random.default_rng(0)
shots = []
for shift in (-1, 0, 1):
    noise = generator.normal(0, 6, target.images.shape)
    shots.append((np.roll(target.images, shift, axis=2) + noise).clip(0, 255).astype("uint8"))
images, labels = np.concatenate(shots), np.tile(target.labels, 3)
patients = np.tile(target.groups, 3)

# %%
# Folds that ignore patients put them on both sides. The audit says so before anything is trained.
leaky = folds.stratified_folds(labels, n_splits=5, random_state=0)
print(folds.audit(leaky, labels, groups=patients))

# %%
# A nearest neighbour remembers its training images, so it shows the leak best.
flat = FunctionTransformer(lambda images: images[:, ::2, ::2].reshape(len(images), -1))
neighbour = make_pipeline(flat, KNeighborsClassifier(n_neighbors=1))
settings = {"groups": patients, "on_leak": "ignore", "random_state": 0, "verbose": 0}
by_image = cross_validate(neighbour, images, labels, cv=leaky, **settings)
by_patient = cross_validate(neighbour, images, labels, **settings)

# %%
# The difference is not skill: it comes from test images whose patient was trained on.
results = {"folds of images": by_image, "folds of patients": by_patient}
figure, axis = plt.subplots(figsize=(5, 2), layout="constrained")
for place, (name, result) in enumerate(results.items()):
    interval = result.scores["accuracy"].interval
    print(f"{name}: accuracy {result.accuracy:.3f} ({interval.low:.3f} to {interval.high:.3f})")
    axis.plot([interval.low, interval.high], [place, place], color="0.3")
    axis.plot(result.accuracy, place, "o", color="#0072B2")
axis.axvline(0.25, color="grey", linestyle=":", label="guessing")
axis.set(yticks=[0, 1], yticklabels=list(results), ylim=(-0.5, 1.5), xlim=(0, 1), xlabel="accuracy")
axis.legend()
figure
