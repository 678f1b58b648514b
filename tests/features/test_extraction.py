"""Features are the means of what the named layers give, found again and never trained."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl import FeatureExtractor, SourceModel, backbones, features
from detl.networks.digests import weights_digest

SHAPE = (20, 14, 1)


@pytest.fixture(autouse=True)
def forgotten():
    features.clear_cache()


@pytest.fixture(scope="module")
def source():
    pixels = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for block, (channels, strides) in enumerate(((3, 1), (4, 2), (5, 2)), start=1):
        x = layers.Conv2D(channels, 3, strides, padding="same", name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_norm")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(6, activation="relu", name="fc")(layers.Dropout(0.5)(x))
    return keras.Model(pixels, layers.Dense(2, activation="softmax", name="classes")(x))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (18, *SHAPE)).astype("uint8")


def maps_of(source, layer, images):
    return keras.Model(source.input, source.get_layer(layer).output).predict(images, verbose=0)


def cell_means(maps, grid):
    """Return the means of the cells, cut in plain numpy."""
    edges = [np.linspace(0, side, min(grid, side) + 1).astype(int) for side in maps.shape[1:3]]
    cells = [
        maps[:, top:bottom, left:right].mean(axis=(1, 2))
        for top, bottom in zip(edges[0], edges[0][1:])
        for left, right in zip(edges[1], edges[1][1:])
    ]
    return np.concatenate(cells, axis=1)


@pytest.mark.parametrize("grid", [1, 2, 3, 50])
def test_features_are_the_means_of_the_cells(source, images, grid):
    extractor = FeatureExtractor(source, layers="block2", grid=grid)
    found = extractor.fit_transform(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, cell_means(maps_of(source, "block2_relu", images), grid), rtol=1e-4, atol=1e-5
    )
    assert len(extractor.get_feature_names_out()) == found.shape[1]


def test_a_cell_says_where_something_is():
    pixels = keras.Input((8, 8, 1))
    network = keras.Model(pixels, layers.Activation("linear", name="same")(pixels))
    image = np.zeros((1, 8, 8, 1))
    image[0, :4, 4:] = 200  # above, on the right
    quarters = FeatureExtractor(network, layers="same", grid=2).fit_transform(image)
    np.testing.assert_allclose(quarters, [[0, 200, 0, 0]])


def test_a_block_ends_with_its_last_layer(source, images):
    default = FeatureExtractor(source).fit_transform(images)
    named = FeatureExtractor(source, layers="block3_relu").fit_transform(images)
    np.testing.assert_array_equal(default, named)
    assert (default >= 0).all()
    before = FeatureExtractor(source, layers="block3_norm").fit_transform(images)
    assert (before < 0).any()


def test_of_several_layers_the_features_stand_side_by_side(source, images):
    names = ["fc", "block1"]  # a fully connected layer too, and in the order that is asked for
    extractor = FeatureExtractor(source, layers=names)
    both = extractor.fit_transform(images)
    assert extractor.layer_sizes_ == (6, 3)
    np.testing.assert_allclose(both[:, :6], maps_of(source, "fc", images), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        both[:, 6:], cell_means(maps_of(source, "block1_relu", images), 1), rtol=1e-4, atol=1e-5
    )


def test_the_network_runs_once_for_each_image(source, images, monkeypatch):
    seen = []
    run = keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda model, x: seen.append(len(x)) or run(model, x)
    )
    extractor = FeatureExtractor(source, layers="block2")
    first = extractor.fit_transform(images[:16])
    assert seen == [16]
    again = clone(extractor).fit_transform(images[:16][::-1])
    assert seen == [16]
    np.testing.assert_array_equal(again, first[::-1])
    for other in ({"grid": 2}, {"layers": "block3"}, {"precision": "mixed_bfloat16"}):
        clone(extractor).set_params(**other).fit_transform(images[:16])
    assert seen == [16] * 4  # other features are other features


def test_what_is_returned_may_be_written_to(source, images):
    extractor = FeatureExtractor(source).fit(images)
    first = extractor.transform(images)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(extractor.transform(images), kept)


def test_features_are_found_again_by_a_later_process(source, images, tmp_path, monkeypatch):
    extractor = FeatureExtractor(source, cache_dir=tmp_path)
    first = extractor.fit_transform(images)
    features.clear_cache()

    def refuse(*args):
        raise AssertionError("the network is run on images whose features are known")

    monkeypatch.setattr(keras.Model, "predict_on_batch", refuse)
    np.testing.assert_array_equal(clone(extractor).fit_transform(images), first)
    with pytest.raises(AssertionError, match="the network is run"):
        clone(extractor).fit_transform(images[:, ::-1])


def test_bfloat16_gives_float32_features_of_its_own(source, images):
    exact = FeatureExtractor(source).fit_transform(images)
    rounded = FeatureExtractor(source, precision="mixed_bfloat16").fit_transform(images)
    assert rounded.dtype == np.float32
    assert (exact != rounded).any()
    np.testing.assert_allclose(rounded, exact, rtol=0.1, atol=0.02)


def test_the_source_is_left_as_it_is(source, images):
    before = weights_digest(source)
    readers = [len(layer._outbound_nodes) for layer in source.layers]
    FeatureExtractor(source, layers=["block1", "block3"], grid=2).fit_transform(images)
    assert weights_digest(source) == before
    assert [len(layer._outbound_nodes) for layer in source.layers] == readers


@pytest.mark.parametrize("as_what", ["source model", "path"])
def test_a_source_model_and_its_file_give_the_same(source, images, as_what, tmp_path):
    model = SourceModel(model=source, classes=np.array(["a", "b"]), history={}, best_epoch=0)
    given = model if as_what == "source model" else str(model.save(tmp_path / "source.keras"))
    np.testing.assert_allclose(
        FeatureExtractor(given).fit_transform(images),
        FeatureExtractor(source).fit_transform(images),
        rtol=1e-5,
    )


def test_channels_that_come_first_are_channels():
    # Padding runs in this order everywhere; a convolution does not on every processor.
    pixels = keras.Input((2, 4, 4))
    x = layers.ZeroPadding2D(2, data_format="channels_first", name="padded")(pixels)
    network = keras.Model(pixels, x)
    images = np.zeros((1, 2, 4, 4))
    images[0, 1] = 32
    extractor = FeatureExtractor(network, layers="padded", grid=2)
    found = extractor.fit_transform(images)
    np.testing.assert_allclose(found, [[0, 8] * 4])
    assert len(extractor.get_feature_names_out()) == 8


def test_scikit_learns_tools_keep_the_weights(source, images):
    labels = np.arange(18) % 2
    images = images.copy()
    images[labels == 1, :10] //= 2
    extractor = FeatureExtractor(source, layers="block1", grid=2)
    classifier = make_pipeline(extractor, StandardScaler(), LogisticRegression())
    assert cross_val_score(classifier, images, labels, cv=3).mean() > 0.9
    search = GridSearchCV(
        classifier, {"featureextractor__layers": ["block1", "block3"]}, cv=StratifiedKFold(3)
    ).fit(images, labels)
    best = search.best_estimator_.named_steps["featureextractor"]
    assert best.source is source


@pytest.mark.slow
def test_a_real_backbone_has_features_at_every_block():
    network = backbones.resnet50((32, 32, 1), width=0.0625)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype("uint8")
    ends = [
        "block1_pool",
        *(f"block{k}_unit{n}_relu3" for k, n in ((2, 3), (3, 4), (4, 6), (5, 3))),
    ]
    names = backbones.block_names(network)
    assert len(names) == len(ends)
    found = FeatureExtractor(network, layers=names).fit_transform(images)
    maps = keras.Model(network.input, [network.get_layer(end).output for end in ends])
    expected = [cell_means(np.asarray(each), 1) for each in maps.predict(images, verbose=0)]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-3, atol=1e-4)


def test_a_sequential_source_has_features(images):
    stack = [layers.Conv2D(3, 3, name="block1_conv"), layers.ReLU(name="block1_relu")]
    network = keras.Sequential([keras.Input(SHAPE), *stack, layers.Flatten(), layers.Dense(2)])
    expected = stack[1](stack[0](images.astype("float32")))
    found = FeatureExtractor(network, layers="block1").fit_transform(images)
    np.testing.assert_allclose(
        found, np.mean(keras.ops.convert_to_numpy(expected), axis=(1, 2)), rtol=1e-4
    )


@pytest.mark.parametrize("outside", ["functional", "sequential"])
def test_layers_inside_a_nested_network_are_found(source, images, outside):
    if outside == "sequential":
        network = keras.Sequential([keras.Input(SHAPE), source, layers.Dense(3)])
    else:
        pixels = keras.Input(SHAPE)
        network = keras.Model(pixels, layers.Dense(3)(source(pixels)))
    np.testing.assert_allclose(
        FeatureExtractor(network, layers="block2", grid=2).fit_transform(images),
        FeatureExtractor(source, layers="block2", grid=2).fit_transform(images),
        rtol=1e-5,
    )


def any_size():
    pixels = keras.Input((None, None, 1))
    return keras.Model(pixels, layers.Conv2D(2, 3, name="block1_conv")(pixels))


def volumes():
    x = layers.Reshape((5, 4, 14, 1), name="volume")(pixels := keras.Input(SHAPE))
    return keras.Model(pixels, layers.Flatten()(x))


@pytest.mark.parametrize(
    ("source_of", "options", "error", "message"),
    [
        (None, {"layers": "block9"}, ValueError, "layers='block9' names neither a block nor"),
        (None, {"layers": 3}, TypeError, "layers is 3; expected the name of a block"),
        (None, {"layers": ["block1", None]}, TypeError, r"layers is \['block1', None\]; expected"),
        (None, {"layers": []}, ValueError, "layers is empty; name at least one"),
        (None, {"grid": 0}, ValueError, "grid=0"),
        (None, {"grid": 1.5}, TypeError, "grid is float 1.5"),
        (any_size, {"grid": 2}, ValueError, "images of any size.*use grid=1"),
        (volumes, {"layers": "volume"}, ValueError, r"'volume' gives features of shape"),
        (dict, {}, TypeError, "source is dict; expected what detl.pretrain returned"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(source, images, source_of, options, error, message):
    given = source if source_of is None else source_of()
    with pytest.raises(error, match=message):
        FeatureExtractor(given, **options).fit(images)


def test_other_images_than_the_source_takes_are_refused(source, images):
    with pytest.raises(ValueError, match=r"X has shape .* but the model takes"):
        FeatureExtractor(source).fit(images[:, :10])
    fitted = FeatureExtractor(source).fit(images)
    with pytest.raises(ValueError, match=r"X has shape .* but the model takes"):
        fitted.transform(images[:, :10])


def test_images_of_any_size_are_averaged_whole():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 1)).astype("uint8")
    assert FeatureExtractor(any_size()).fit_transform(images).shape == (3, 2)


def test_the_order_of_layers_is_not_mistaken(source, images):
    one = FeatureExtractor(source, layers=["block1", "block2"]).fit_transform(images)
    other = FeatureExtractor(source, layers=["block2", "block1"]).fit_transform(images)
    np.testing.assert_array_equal(np.roll(one, 4, axis=1), other)  # block2 has four channels
    twice = FeatureExtractor(source, layers=["block1", "block1"]).fit_transform(images)
    np.testing.assert_array_equal(twice[:, :3], twice[:, 3:])


def test_a_layer_that_was_edited_gives_new_features(images):
    found = []
    for factor in (1, 2):
        namespace = {"keras": keras, "__name__": "__main__"}
        code = f"class Scaled(keras.layers.Layer):\n  def call(self, x):\n    return x * {factor}"
        exec(code, namespace)
        pixels = keras.Input(SHAPE)
        network = keras.Model(pixels, namespace["Scaled"](name="scaled")(pixels))
        found.append(FeatureExtractor(network, layers="scaled").fit_transform(images))
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-5)


def test_a_folder_that_is_no_path_is_refused(source, images):
    extractor = FeatureExtractor(source, layers="block1", cache_dir=3)
    with pytest.raises(TypeError, match="cache_dir is int 3; expected the path of a"):
        extractor.fit_transform(images)
