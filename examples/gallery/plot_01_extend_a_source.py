"""
Extend a source to rarer classes
================================

The source network knows normal and diseased chests. How many images does it need to learn four new
classes?
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from detl import DomainExtensionTransfer, datasets, folds, load_source, recipes

_, target = datasets.load_phantoms()
source = load_source("source.keras")  # from the quickstart

# %%
# A fifth of the patients is kept to test. Of the others, some images of each class are trained on.
train, test = folds.stratified_folds(
    target.labels, groups=target.groups, n_splits=5, random_state=0
)[0]
sizes = (4, 12, 40)
scores = {"extended source": [], "thumbnail": []}
for n in sizes:
    rows = np.concatenate([train[target.labels[train] == name][:n] for name in target.classes])
    classifiers = {
        "extended source": DomainExtensionTransfer(source, random_state=0, verbose=0),
        "thumbnail": recipes.thumbnail(),
    }
    for name, classifier in classifiers.items():
        classifier.fit(target.images[rows], target.labels[rows])
        scores[name].append(classifier.score(target.images[test], target.labels[test]))
for name, reached in scores.items():
    print(f"{name}: " + ", ".join(f"{score:.2f}" for score in reached))

# %%
# The thumbnail is a logistic regression on 16 x 16 cells: no network. Where it is as good, you need
# none. There are few test images: look at the trend.
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
for name, reached in scores.items():
    axis.plot(sizes, reached, marker="o", label=name)
axis.axhline(0.25, color="grey", linestyle=":", label="guessing")
axis.set(xlabel="training images of each class", ylabel="accuracy", ylim=(0, 1))
axis.legend()
figure
