"""Read a model file back: a fitted transfer, or a source."""

from __future__ import annotations

from pathlib import Path

from detl.networks.copying import global_seed_kept
from detl.networks.model_files import checking_record, read_record
from detl.networks.opening import open_model
from detl.pretraining.source import SourceModel, source_from
from detl.transfer.classifier import DomainExtensionTransfer
from detl.transfer.records import give_settings, learned


@global_seed_kept()
def load(path: str | Path) -> DomainExtensionTransfer | SourceModel:
    """Load what :meth:`DomainExtensionTransfer.save` or :meth:`SourceModel.save` wrote.

    Nothing in the file runs: layers and functions that it names must be Keras's own, compute and do
    nothing else, or be registered (``keras.saving.register_keras_serializable``).

    Returns
    -------
    DomainExtensionTransfer or SourceModel
        A transfer comes fitted. Its ``source`` is None, because the file does not have it.

    Raises
    ------
    ValueError
        If the file is damaged, names a layer or function that is not allowed, has a record that
        does not fit its network, or is a Keras model without a record: ``DomainExtensionTransfer``
        takes such a model as its source, once ``keras.saving.load_model`` has loaded it.
    OSError
        If there is no such file, or no room to unpack it: Keras does so in the temporary folder.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import detl
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 1)).astype("uint8")
    >>> network = detl.backbones.alexnet((64, 64, 1), width=0.125)
    >>> transfer = detl.DomainExtensionTransfer(network, epochs=1, random_state=0)
    >>> path = transfer.fit(images, ["ill", "well"] * 4).save(f"{tempfile.mkdtemp()}/ill.keras")
    >>> loaded = detl.load(path)
    >>> np.array_equal(loaded.predict_proba(images), transfer.predict_proba(images))
    True
    """
    record = read_record(path)
    if record["kind"] == "source":
        return source_from(record, path)
    model = open_model(Path(path))
    with checking_record(path, kind="transfer"):
        transfer = DomainExtensionTransfer(source=None)
        give_settings(transfer, record["settings"])
        transfer.__dict__.update(learned(record, model))
    return transfer
