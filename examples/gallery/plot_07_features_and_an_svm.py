"""
Features and a support vector machine
=====================================

Training a network may not be worth its time. Any classifier of scikit-learn can learn from what a
block of the source sees.
"""

# %%
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from detl import DomainExtensionTransfer, FeatureExtractor, compare, datasets, load_source

_, target = datasets.load_phantoms()
source = load_source("source.keras")
machine = make_pipeline(
    FeatureExtractor(source, layers="block3", grid=2, verbose=0),
    StandardScaler(),
    CalibratedClassifierCV(SVC(), ensemble=False),
)
transfer = DomainExtensionTransfer(source)
comparison = compare(
    {"support vector machine": machine, "domain extension": transfer},
    target.images,
    target.labels,
    groups=target.groups,
    n_splits=3,
    random_state=0,
    verbose=0,
)
print(comparison)

# %%
for name, result in comparison.results.items():
    print(f"{name}: {result.seconds['total']:.0f} s")
figure = comparison.plot()
figure
