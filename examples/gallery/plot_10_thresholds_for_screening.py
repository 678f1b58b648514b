"""
Thresholds for screening
========================

Screening asks for a high sensitivity, and for the price: how many healthy people are called back?
"""

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl import FeatureExtractor, cross_validate, datasets, load_source, plots

_, target = datasets.load_phantoms()
source = load_source("source.keras")
classifier = make_pipeline(
    FeatureExtractor(source, layers="block3", grid=2, verbose=0),
    StandardScaler(),
    LogisticRegression(C=0.01),
)
result = cross_validate(
    classifier, target.images, target.labels, groups=target.groups, random_state=0, verbose=0
)

# %%
# The threshold of each fold is chosen on the other folds. Predictive values depend on how common
# the class is, so give the prevalence of the clinic.
print(result.operating_point("covid-19", sensitivity=0.95, prevalence=0.1))

# %%
# The curve shows whether acting on the prediction is better than acting on everybody or on nobody.
figure = plots.net_benefit(result.net_benefit("covid-19"))
figure

# %%
figure = plots.roc_curves(result)
figure
