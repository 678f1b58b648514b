"""A vision transformer gives the mean of its tokens, or its class token."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl import FeatureExtractor, backbones, datasets, recommend

SIZE, PATCH, DIM = 8, 2, 12
N_PATCHES = (SIZE // PATCH) ** 2


class WithPositions(layers.Layer):
    """Learned vectors: a class token in front, where it is asked for, and positions for all."""

    def __init__(self, class_token=True, **settings):
        super().__init__(**settings)
        self.class_token = class_token

    def get_config(self):
        return {**super().get_config(), "class_token": self.class_token}

    def build(self, shape):
        start = keras.initializers.RandomNormal(1.0, seed=5)
        self.first = self.add_weight(shape=(1, 1, shape[2]), initializer=start)
        n = shape[1] + self.class_token
        self.positions = self.add_weight(shape=(1, n, shape[2]), initializer=start)

    def call(self, patches):
        if self.class_token:
            first = ops.repeat(self.first, ops.shape(patches)[0], axis=0)
            patches = ops.concatenate([first, patches], axis=1)
        return patches + self.positions


def transformer(*, class_token=True, head=True):
    """Return a small vision transformer, as people write it: residual sums have no names."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(DIM, PATCH, PATCH, name="patches")(layers.Rescaling(1 / 255)(pixels))
    x = layers.Reshape((N_PATCHES, DIM))(x)
    x = WithPositions(class_token, name="embedding")(x)
    for block in (1, 2):
        y = layers.LayerNormalization(name=f"encoder_block{block}_norm1")(x)
        x = x + layers.MultiHeadAttention(2, 6, name=f"encoder_block{block}_attention")(y, y)
        y = layers.LayerNormalization(name=f"encoder_block{block}_norm2")(x)
        y = layers.Dense(2 * DIM, "gelu", name=f"encoder_block{block}_dense1")(y)
        x = x + layers.Dense(DIM, name=f"encoder_block{block}_dense2")(y)
    x = layers.LayerNormalization(name="norm")(x)
    if head:
        x = x[:, 0] if class_token else layers.GlobalAveragePooling1D()(x)
        x = layers.Dense(3, activation="softmax", name="classes")(x)
    return keras.Model(pixels, x, name="transformer")


@pytest.fixture(scope="module")
def source():
    return transformer()


@pytest.fixture(scope="module")
def digits():
    _, target = datasets.load_digits(size=SIZE)
    return target.images[:150], target.labels[:150]


def output_of(source, layer, images):
    return keras.Model(source.input, source.get_layer(layer).output).predict(images, verbose=0)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("head", [True, False])
def test_the_last_block_of_a_transformer_is_its_last_tokens(digits, head):
    source, images = transformer(head=head), digits[0][:20]
    tokens = output_of(source, "norm", images)
    assert tokens.shape == (20, N_PATCHES + 1, DIM)
    extractor = FeatureExtractor(source)
    close(extractor.fit_transform(images), tokens.mean(axis=1))
    assert extractor.layer_sizes_ == (DIM,)
    close(FeatureExtractor(source, tokens="class").fit_transform(images), tokens[:, 0])


def test_a_block_ends_after_its_residual_sum(source, digits):
    images = digits[0][:20]
    blocks = backbones.block_names(source)
    assert blocks == ["encoder_block1", "encoder_block2"]
    found = FeatureExtractor(source, layers=blocks[0], tokens="class").fit_transform(images)
    (next_block,) = (node for node in source.get_layer("encoder_block2_norm1")._inbound_nodes)
    ends = keras.Model(source.input, next_block.input_tensors[0])
    close(found, ends.predict(images, verbose=0)[:, 0])
    dense = FeatureExtractor(source, layers="encoder_block1_dense2").fit_transform(images)
    close(dense, output_of(source, "encoder_block1_dense2", images).mean(axis=1))


def test_tokens_stand_beside_maps_and_fully_connected_layers(source, digits):
    images = digits[0][:20]
    found = FeatureExtractor(source, layers=["norm", "classes"], tokens="class")
    close(
        found.fit_transform(images),
        np.hstack([output_of(source, "norm", images)[:, 0], output_of(source, "classes", images)]),
    )
    both = FeatureExtractor(source, layers=["patches", "norm"]).fit_transform(images)
    close(both[:, :DIM], output_of(source, "patches", images).mean(axis=(1, 2)))


def test_a_transformer_without_a_convolution_has_features():
    pixels = keras.Input((4, 4, 1))
    patches = layers.Reshape((2, 8))(pixels)
    x = layers.Attention(name="attention")([patches, patches])
    network = keras.Model(pixels, layers.Dense(2)(layers.Flatten()(x)))
    images = np.random.default_rng(0).random((3, 4, 4, 1)) * 4
    close(
        FeatureExtractor(network).fit_transform(images),
        output_of(network, "attention", images).mean(axis=1),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": "first"}, "tokens='first'; expected one of 'mean', 'class'"),
        ({"tokens": None}, "tokens=None; expected one of"),
        ({"grid": 2}, r"grid=2 divides feature maps, but 'norm' gives tokens .*use grid=1"),
        (
            {"tokens": "class", "layers": ["norm", "patches"]},
            r"tokens='class' is for layers that give tokens, but 'patches' gives feature maps",
        ),
    ],
)
def test_what_does_not_fit_tokens_is_refused(source, digits, options, message):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(source, **options).fit(digits[0])


def test_a_class_token_is_not_asked_of_a_network_without_one(digits):
    message = "'norm' gives 16 tokens, one for each of 4 x 4 patches, and so no class token"
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(transformer(class_token=False), tokens="class").fit(digits[0])


def test_a_transformer_is_cross_validated_and_recommended(source, digits):
    images, labels = digits
    class_token = FeatureExtractor(source, tokens="class")
    classifier = make_pipeline(class_token, StandardScaler(), LogisticRegression(max_iter=2000))
    found = recommend(
        source,
        images,
        labels,
        groups=np.arange(len(images)),
        also={"class token": classifier},
        without=["domain extension", "fine-tuning", "from scratch"],
        n_splits=2,
        on_leak="ignore",
        random_state=0,
        verbose=0,
    )
    assert set(found.results) == {"linear probe", "class token", "thumbnail"}
    assert found.results["class token"].accuracy > 0.6  # random weights; chance is 1/3
    assert found.results["linear probe"].folds[0].chosen["block"].startswith("encoder_block")
