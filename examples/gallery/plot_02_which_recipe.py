"""
Which recipe should I use?
==========================

:func:`detl.recommend` tries what a good colleague would try, on the same folds, and says which
recipe to take.
"""

# %%
# Leave out what takes long, and add a recipe of your own.
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl import FeatureExtractor, datasets, load_source, recommend

_, target = datasets.load_phantoms()
source = load_source("source.keras")
features = make_pipeline(
    FeatureExtractor(source, layers="block3", grid=2, verbose=0),
    StandardScaler(),
    LogisticRegression(C=0.01),
)
found = recommend(
    source,
    target.images,
    target.labels,
    groups=target.groups,
    without=["fine-tuning", "from scratch", "linear probe"],
    also={"features of block 3": features},
    n_splits=3,
    random_state=0,
    verbose=0,
)
print(found)

# %%
# Each dot is the difference of two recipes, with its interval over patients. An interval that
# crosses zero shows no difference.
figure = found.comparison.plot()
figure
