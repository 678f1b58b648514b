"""
Does it hold in another hospital?
=================================

Cross-validation says how well a classifier does on new patients of the same hospital. This example
tests it on images from a machine with another exposure, and writes a report.
"""

# %%
# The "other hospital" has new patients, and darker, noisier images.
import numpy as np

import detl
from detl import datasets, recipes

_, here = datasets.load_phantoms()
_, there = datasets.load_phantoms(random_state=1)
generator = np.random.default_rng(0)
noise = generator.normal(0, 12, there.images.shape)
elsewhere = (there.images * 0.75 + noise).clip(0, 255).astype("uint8")

source = detl.load_source("source.keras")
classifier = recipes.linear_probe(source, random_state=0, verbose=0)
result = detl.cross_validate(
    classifier, here.images, here.labels, groups=here.groups, random_state=0, verbose=0
)
classifier.fit(here.images, here.labels, groups=here.groups)

# %%
external = detl.evaluate(
    classifier,
    elsewhere,
    there.labels,
    groups=np.char.add("b-", there.groups.astype(str)),  # patients of the other hospital
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
