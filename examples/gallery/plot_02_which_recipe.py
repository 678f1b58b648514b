"""
Which recipe should I use?
==========================

:func:`detl.recommend` tries what a good colleague would try, on the same folds, and says which
recipe to take.
"""

# %%
from detl import datasets, load_source, recommend

_, target = datasets.load_phantoms()
source = load_source("source.keras")
found = recommend(
    source,
    target.images,
    target.labels,
    groups=target.groups,
    without=["from scratch"],  # it takes longest
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
