"""
Find a planted shortcut
=======================

A bright corner marks most images of one class, as a scanner's label might. The classifier scores
well. Does it read the lung or the label?
"""

# %%
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl import FeatureExtractor, cross_validate, datasets, load_source, plots, shortcuts

_, target = datasets.load_phantoms()
marked = target.images.copy()
rows = np.flatnonzero(target.labels == "covid-19")
marked[rows[: len(rows) * 4 // 5], :8, :8] = 255  # four fifths of the class
source = load_source("source.keras")
classifier = make_pipeline(
    FeatureExtractor(source, layers="block3", grid=2, verbose=0),
    StandardScaler(),
    LogisticRegression(C=0.01, max_iter=1000),
)
result = cross_validate(
    classifier, marked, target.labels, groups=target.groups, random_state=0, verbose=0
)
print(f"accuracy {result.accuracy:.3f}")

# %%
# The border baseline never sees the lung. If it recognises a class, so can the network.
report = shortcuts.baseline_test(result, marked)
print(report)

# %%
figure = plots.shortcut_report(report)
figure
