"""
Grad-CAM on your own Keras model
================================

:class:`detl.GradCAM` explains any Keras classifier that has a convolution. It needs nothing else of
detl. The layer is found, and the softmax is undone.
"""

# %%
import keras
from keras import layers
from sklearn.datasets import load_digits

from detl import GradCAM, images, plots

digits = load_digits()
pixels = images.resize((digits.images * 15.9).astype("uint8"), size=(32, 32))
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((32, 32, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(pixels[:1400], digits.target[:1400], epochs=8, verbose=0)
print(f"accuracy {model.evaluate(pixels[1400:], digits.target[1400:], verbose=0)[1]:.2f}")

# %%
# Where is the evidence for the predicted digit?
cam = GradCAM(model)
some = pixels[1400:1406]
figure = plots.heatmap_grid(
    some,
    cam(some),
    labels=digits.target[1400:1406],
    predicted=model.predict(some, verbose=0).argmax(axis=1),
)
print("layer:", cam.layer)
figure

# %%
# What speaks for an 8 rather than a 3? A class can be a name, an index, or a function of the
# logits.
threes = pixels[digits.target == 3][:4]
difference = cam(threes, target_class=lambda logits: logits[:, 8] - logits[:, 3])
figure = plots.heatmap_grid(threes, difference)
figure
