"""
Are the heatmaps true?
======================

A heatmap always looks like an explanation. Where the object is known, its heatmap can be tested.
"""

# %%
# Phantoms come with the outline of each lesion. The network is trained on four fifths of the
# patients and explained on the others.
from detl import (
    DomainExtensionTransfer,
    GradCAM,
    datasets,
    faithfulness,
    folds,
    load_source,
    plots,
)

_, target = datasets.load_phantoms()
source = load_source("source.keras")
train, test = folds.stratified_folds(
    target.labels, groups=target.groups, n_splits=5, random_state=0
)[0]
transfer = DomainExtensionTransfer(source, random_state=0, verbose=0)
transfer.fit(target.images[train], target.labels[train])
test = test[target.masks[test].any(axis=(1, 2))]  # images with a lesion

# %%
# The energy is the share of the heatmap on the lesion, divided by the lesion's share of the image:
# 1 is chance. It is also computed for the heatmaps of *other* images. A method that shows the same
# place in every image scores as high there.
images, masks, groups = target.images[test], target.masks[test], target.groups[test]
methods = {
    "Grad-CAM, last block": GradCAM(transfer),
    "HiResCAM, block 3": GradCAM(transfer, method="hirescam", layer="block3_conv3_relu"),
}
heatmaps = {name: cam(images, target.labels[test]) for name, cam in methods.items()}
for name, maps in heatmaps.items():
    print(name)
    print(faithfulness.energy(maps, masks, groups=groups, random_state=0))
    print()

# %%
# Grad-CAM. The outline is the lesion.
drawn = {"labels": target.labels[test][:4], "masks": masks[:4]}
figure = plots.heatmap_grid(images[:4], heatmaps["Grad-CAM, last block"][:4], **drawn)
figure

# %%
# HiResCAM, of a finer layer.
figure = plots.heatmap_grid(images[:4], heatmaps["HiResCAM, block 3"][:4], **drawn)
figure
