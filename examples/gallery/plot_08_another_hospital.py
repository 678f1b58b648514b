"""
Does it hold in another hospital?
=================================

Cross-validation says how well a classifier does on new patients of the same hospital. This example
tests it on images from a machine with another exposure, and writes a report.
"""

# %%
# The "other hospital" has new patients, and darker, noisier images.
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import detl
from detl import datasets

_, here = datasets.load_phantoms()
_, there = datasets.load_phantoms(random_state=1)
generator = np.random.default_rng(0)
noise = generator.normal(0, 4, there.images.shape)
elsewhere = (there.images * 0.95 + noise).clip(0, 255).astype("uint8")

source = detl.load_source("source.keras")
classifier = make_pipeline(
    detl.FeatureExtractor(source, layers="block3", grid=2, verbose=0),
    StandardScaler(),
    LogisticRegression(C=0.01),
)
result = detl.cross_validate(
    classifier, here.images, here.labels, groups=here.groups, random_state=0, verbose=0
)
classifier.fit(here.images, here.labels)

# %%
external = detl.evaluate(
    classifier,
    elsewhere,
    there.labels,
    groups=np.char.add("b-", there.groups),  # patients of the other hospital
    internal=result,
    random_state=0,
)
print(external)

# %%
# One page to send, with both.
detl.report(result, "report.html", external=external, verbose=0)

# %%
figure = external.plot()
figure
