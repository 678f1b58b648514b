"""
Bring your own backbone
=======================

Any Keras network can be the source. It takes pixels in [0, 255], and the names of its layers begin
with the names of their blocks, so that ``trainable_from="last_block"`` finds the last one.
"""

# %%
import keras
from keras import layers

from detl import DomainExtensionTransfer, cross_validate, datasets, plots, pretrain

pixels = keras.Input((32, 32, 1))
x = layers.Rescaling(1 / 255)(pixels)
for block, channels in enumerate((16, 32, 64), start=1):
    x = layers.Conv2D(channels, 3, padding="same", name=f"block{block}_conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"block{block}_norm")(x)
    x = layers.ReLU(name=f"block{block}_relu")(x)
    x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
backbone = keras.Model(pixels, layers.GlobalMaxPooling2D()(x), name="mine")

# %%
# Pretrain it and extend it like any other.
source_set, target_set = datasets.load_digits(size=32)
source = pretrain(
    backbone, source_set.images, source_set.labels, epochs=8, random_state=0, verbose=0
)
transfer = DomainExtensionTransfer(source)
result = cross_validate(
    transfer, target_set.images, target_set.labels, n_splits=3, random_state=0, verbose=0
)
print(result)

# %%
# ``examples/covid_net.py`` does the same with COVID-Net (Wang, Lin & Wong 2020).
figure = plots.confusion_matrix(result)
figure
