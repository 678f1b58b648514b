"""
From DICOM to an array
======================

:func:`detl.images.load` reads DICOM files as it reads PNG and JPEG: one grey value per pixel, with
the window of the file, and dark where the film is dark.
"""

# %%
# This example first writes three small DICOM files; yours come from the hospital.
from pathlib import Path

import matplotlib.pyplot as plt
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from detl import datasets, images

_, target = datasets.load_phantoms()
folder = Path("dicom")
folder.mkdir(exist_ok=True)
for row in range(3):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    file.PatientID = str(target.groups[row])
    file.Rows, file.Columns = target.images.shape[1:3]
    file.SamplesPerPixel, file.BitsAllocated, file.BitsStored, file.HighBit = 1, 16, 12, 11
    file.PixelRepresentation = 0
    file.PhotometricInterpretation = "MONOCHROME1"  # white is zero, as on many films
    stored = 4095 - target.images[row, ..., 0].astype("uint16") * 16
    file.PixelData = stored.tobytes()
    file.save_as(folder / f"{row}.dcm", enforce_file_format=True)

# %%
loaded = images.load(sorted(folder.glob("*.dcm")), size=(64, 64))
patients = [pydicom.dcmread(path, stop_before_pixels=True).PatientID for path in loaded.paths]
print(loaded.images.shape, loaded.images.dtype, patients)

# %%
figure, axes = plt.subplots(1, 3, figsize=(6, 2.2), layout="constrained")
for axis, image, patient in zip(axes, loaded.images, patients, strict=True):
    axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
    axis.set(title=patient, xticks=[], yticks=[])
figure
