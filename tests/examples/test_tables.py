import csv
import os
from pathlib import Path

import numpy as np
import pytest

from examples.covid_chest_xray import paper_sets, tables

NIH_HEADER = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "OriginalImage[Width"]
COVID_HEADER = ["patientid", "finding", "view", "modality", "filename"]

CHEST_XRAY = os.environ.get("DETL_CHEST_XRAY")


def write_table(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_images(folder, names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def nih_of(findings_of_patients, folder):
    """Return the records of a small NIH table: one list of findings per patient."""
    rows = [
        [f"{patient:08d}_{i:03d}.png", findings, i, patient, 2500]
        for patient, images in enumerate(findings_of_patients, start=1)
        for i, findings in enumerate(images)
    ]
    table = write_table(folder / "Data_Entry_2017.csv", NIH_HEADER, rows)
    images = write_images(folder / "images", [row[0].replace(".png", ".jpg") for row in rows])
    return tables.read_nih(table, images)


def covid_of(n, folder):
    rows = [[str(i // 2), "COVID-19", "PA", "X-ray", f"c{i}.jpg"] for i in range(n)]
    table = write_table(folder / "metadata.csv", COVID_HEADER, rows)
    return tables.read_covid(table, write_images(folder / "covid", [row[4] for row in rows]))


def test_the_nih_table_is_read_by_stem_with_patients_of_either_edition(tmp_path):
    table = write_table(
        tmp_path / "table.csv",
        NIH_HEADER,
        [
            ["00000001_000.png", "Mass|Nodule", 0, "1", 2500],
            ["00000001_001.png", "No Finding", 1, "00000001", 2500],
        ],
    )
    images = write_images(tmp_path / "images", ["00000001_000.jpg", "00000001_001.png", "note.txt"])
    nih = tables.read_nih(table, images)
    assert [path.name for path in nih.paths] == ["00000001_000.jpg", "00000001_001.png"]
    assert nih.labels.tolist() == ["Mass|Nodule", "No Finding"]
    assert nih.patients.tolist() == ["nih-1", "nih-1"]


def test_an_nih_table_without_its_columns_is_refused_by_name(tmp_path):
    table = write_table(tmp_path / "t.csv", ["Image Index", "Labels"], [["a.png", "Mass"]])
    with pytest.raises(
        ValueError, match=r"lacks the column.*'Finding Labels', 'Patient ID'.*found.*'Labels'"
    ):
        tables.read_nih(table, tmp_path)


def test_a_file_named_in_the_table_but_missing_is_named_and_counted(tmp_path):
    rows = [[f"{i:08d}_000.png", "No Finding", 0, i, 2500] for i in range(1, 4)]
    table = write_table(tmp_path / "t.csv", NIH_HEADER, rows)
    images = write_images(tmp_path / "images", ["00000002_000.jpg"])
    with pytest.raises(FileNotFoundError, match=r"2 of the 3 images.*00000001_000.png, 00000003"):
        tables.read_nih(table, images)
    nih = tables.read_nih(table, images, on_missing="skip")
    assert (nih.patients.tolist(), nih.n_missing) == (["nih-2"], 2)


def test_a_folder_with_none_of_the_images_is_refused_even_when_skipping(tmp_path):
    table = write_table(tmp_path / "t.csv", NIH_HEADER, [["a.png", "Mass", 0, 1, 2500]])
    with pytest.raises(FileNotFoundError, match="None of the 1 images"):
        tables.read_nih(table, tmp_path, on_missing="skip")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        tables.read_nih(table, tmp_path / "nowhere")


def test_one_image_in_two_folders_is_refused(tmp_path):
    table = write_table(tmp_path / "t.csv", NIH_HEADER, [["a.png", "Mass", 0, 1, 2500]])
    folders = [write_images(tmp_path / size, ["a.jpg"]) for size in ("128", "224")]
    with pytest.raises(ValueError, match="'a' is there twice"):
        tables.read_nih(table, folders)


def test_images_of_one_stem_are_told_apart_by_their_full_names(tmp_path):
    names = ["1.jpg", "1.png", "2.0-a.b.jpeg"]
    rows = [[str(i), "COVID-19", "PA", "X-ray", name] for i, name in enumerate(names)]
    rows[2][4] = "2.0-a.b"  # without its ending
    table = write_table(tmp_path / "metadata.csv", COVID_HEADER, rows)
    covid = tables.read_covid(table, write_images(tmp_path / "i", names))
    assert [path.name for path in covid.paths] == names
    assert covid.patients.tolist() == ["covid-0", "covid-1", "covid-2"]
    unclear = write_table(tmp_path / "m.csv", COVID_HEADER, [[*rows[0][:4], "1.jpeg"]])
    with pytest.raises(ValueError, match=r"'1' is there twice.* name each file in full"):
        tables.read_covid(unclear, tmp_path / "i")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_table_in_another_encoding_is_named(tmp_path, encoding):
    table = tmp_path / "metadata.csv"
    table.write_text("patientid,finding\n1,that’s COVID\n", encoding=encoding)
    with pytest.raises(ValueError, match=r"metadata\.csv is not in UTF-8 .* 'CSV UTF-8'"):
        tables.read_covid(table, tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["a.png", "Masss", 0, 1, 2500], "unknown finding 'Masss'"),
        (["a.png", "Mass", 0, "", 2500], "no patient for image 'a.png'"),
    ],
)
def test_a_row_that_would_be_misread_is_refused(tmp_path, row, message):
    table = write_table(tmp_path / "t.csv", NIH_HEADER, [row])
    write_images(tmp_path, ["a.png"])
    with pytest.raises(ValueError, match=message):
        tables.read_nih(table, tmp_path)


def test_an_image_named_twice_or_a_table_without_rows_is_refused(tmp_path):
    row = ["a.png", "Mass", 0, 1, 2500]
    twice = write_table(tmp_path / "twice.csv", NIH_HEADER, [row, row])
    with pytest.raises(ValueError, match=r"'a\.png' more than once"):
        tables.read_nih(twice, write_images(tmp_path / "images", ["a.png"]))
    empty = write_table(tmp_path / "empty.csv", NIH_HEADER, [])
    with pytest.raises(ValueError, match="no rows"):
        tables.read_nih(empty, tmp_path)


def test_only_frontal_covid_radiographs_are_kept(tmp_path):
    rows = [
        ["1", "COVID-19", "PA", "X-ray", "pa.jpg"],
        ["1", "COVID-19, ARDS", "AP Supine", "X-ray", "supine.jpg"],
        ["2", "Pneumonia/Viral/COVID-19", "", "X-ray", "blank.jpeg"],
        ["3", "COVID-19", "L", "X-ray", "lateral.jpg"],
        ["4", "COVID-19", "Axial", "CT", "ct.jpg"],
        ["5", "SARS", "PA", "X-ray", "sars.jpg"],
    ]
    table = write_table(tmp_path / "metadata.csv", COVID_HEADER, rows)
    covid = tables.read_covid(table, write_images(tmp_path / "i", [row[4] for row in rows]))
    assert [path.stem for path in covid.paths] == ["pa", "supine", "blank"]
    assert covid.patients.tolist() == ["covid-1", "covid-1", "covid-2"]
    assert set(covid.labels) == {"covid-19"}


def test_controls_are_what_a_collection_has_without_covid(tmp_path):
    rows = [
        ["1", "COVID-19", "PA", "X-ray", "covid.jpg"],
        ["2", "No Finding", "PA", "X-ray", "normal.jpg"],
        ["3", "Pneumonia/Fungal/Pneumocystis", "AP", "X-ray", "late.jpg"],
        ["3", "Klebsiella", "AP", "X-ray", "early.jpg"],
        ["4", "Mycoplasma Bacterial Pneumonia", "", "X-ray", "mycoplasma.jpg"],
        ["7", "SARS", "PA", "X-ray", "sars.jpg"],
        ["5", "ARDS", "PA", "X-ray", "ards.jpg"],
        ["6", "Pneumonia", "L", "X-ray", "lateral.jpg"],
    ]
    table = write_table(tmp_path / "metadata.csv", COVID_HEADER, rows)
    controls = tables.read_controls(table, write_images(tmp_path / "i", [row[4] for row in rows]))
    assert dict(zip([path.stem for path in controls.paths], controls.labels.tolist())) == {
        "normal": "normal",
        "late": "pneumonia",
        "early": "pneumonia",
        "mycoplasma": "pneumonia",
        "sars": "pneumonia",
    }


def test_a_collection_without_covid_is_refused(tmp_path):
    table = write_table(
        tmp_path / "metadata.csv", COVID_HEADER, [["5", "SARS", "PA", "X-ray", "sars.jpg"]]
    )
    with pytest.raises(ValueError, match="no frontal radiograph of covid-19"):
        tables.read_covid(table, tmp_path)


def test_data_b_follows_table_1_and_never_pads(tmp_path):
    findings = [
        *[["No Finding"]] * 400,
        *[["Pneumonia"]] * 5,
        *[["Pneumonia|Edema"]] * 4,
        *[["Effusion"]] * 60,
        *[["Mass"]] * 7,
        *[["Mass|Nodule"]] * 9,
        *[["Hernia"]] * 8,
    ]
    nih, covid = nih_of(findings, tmp_path), covid_of(320, tmp_path)
    target = paper_sets.data_b(nih, covid, random_state=0)
    names, numbers = np.unique(target.labels, return_counts=True)
    assert dict(zip(names.tolist(), numbers.tolist(), strict=True)) == {
        "normal": 350,
        "pneumonia": 5,
        "other": 50 + 7,
        "covid-19": 305,
    }
    assert len(set(target.paths)) == len(target)
    any_pneumonia = paper_sets.data_b(nih, covid, pneumonia="any", random_state=0)
    assert np.sum(any_pneumonia.labels == "pneumonia") == 9


def test_a_draw_repeats_with_its_seed_and_differs_with_another(tmp_path):
    nih, covid = (
        nih_of([["No Finding"]] * 500 + [["Pneumonia"]] * 3, tmp_path),
        covid_of(9, tmp_path),
    )
    draws = [paper_sets.data_b(nih, covid, random_state=seed).paths.tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.fixture
def hospital(tmp_path):
    """Return 300 patients with one to four images: healthy, diseased, both, or with pneumonia."""
    rng = np.random.default_rng(0)
    choices = ["No Finding"] * 5 + [
        "Mass",
        "Effusion|Edema",
        "Nodule",
        "Pneumonia",
        "Mass|Pneumonia",
    ]
    findings = [rng.choice(choices, rng.integers(1, 5)).tolist() for _ in range(300)]
    nih = nih_of(findings, tmp_path)
    # Smaller than Table I, so that something is left for Data-A.
    target = paper_sets.data_b(nih, covid_of(4, tmp_path), random_state=0)
    return nih, target.take(np.arange(0, len(target), 4))


def test_data_a_is_balanced_in_validation_and_shares_no_patient(hospital):
    nih, target = hospital
    source = paper_sets.data_a(nih, target=target, random_state=0)
    numbers = np.unique(source.validation.labels, return_counts=True)[1]
    assert numbers[0] == numbers[1] > 0
    assert not set(source.train.patients) & set(source.validation.patients)
    for part in (source.train, source.validation):
        assert not set(part.patients) & set(target.patients)
    findings = dict(zip(nih.paths, nih.labels, strict=True))
    used = [*source.train.paths, *source.validation.paths]
    assert not any("Pneumonia" in findings[path] for path in used)
    assert len(set(used)) == len(used)


def test_data_a_validation_keeps_the_papers_share(hospital):
    nih, target = hospital
    source = paper_sets.data_a(nih, target=target, exclude="nothing", random_state=0)
    without_pneumonia = np.array(["Pneumonia" not in labels for labels in nih.labels])
    n_normal = np.sum(nih.labels == "No Finding")
    n_diseased = without_pneumonia.sum() - n_normal
    expected = round(10_000 * min(n_normal / 57_560, n_diseased / 50_819))
    assert np.sum(source.validation.labels == "normal") == expected
    assert np.sum(source.validation.labels == "diseased") == expected


def test_what_data_a_shares_with_data_b_is_what_exclude_says(hospital):
    nih, target = hospital
    shared = {
        exclude: paper_sets.overlap(paper_sets.data_a(nih, target=target, exclude=exclude), target)
        for exclude in ("patients", "images", "nothing")
    }
    assert shared["patients"] == {"images": 0, "images_of_shared_patients": 0}
    assert shared["images"]["images"] == 0 < shared["images"]["images_of_shared_patients"]
    assert shared["nothing"]["images"] > 0


def test_a_source_of_one_class_and_unknown_options_are_refused(hospital, tmp_path):
    nih, target = hospital
    healthy = nih.take(nih.labels == "No Finding")
    with pytest.raises(ValueError, match=r"classes \['normal'\] only"):
        paper_sets.data_a(healthy, target=target, exclude="nothing")
    with pytest.raises(ValueError, match="exclude='all'; expected 'patients'"):
        paper_sets.data_a(nih, target=target, exclude="all")
    with pytest.raises(ValueError, match="pneumonia='some'; expected 'only'"):
        paper_sets.data_b(nih, nih, pneumonia="some")
    with pytest.raises(ValueError, match="on_missing='ignore'; expected 'raise'"):
        tables.read_nih(tmp_path / "Data_Entry_2017.csv", tmp_path / "images", on_missing="ignore")


def test_the_counts_stand_beside_the_papers_unless_asked_not_to(hospital):
    nih, target = hospital
    source = paper_sets.data_a(nih, target=target, random_state=0)
    rows = paper_sets.counts(source.train, source.validation, target)
    covid = next(row for row in rows if row["class"] == "covid-19")
    n_covid = int(np.sum(target.labels == "covid-19"))
    assert (covid["paper_images"], covid["images"]) == (305, n_covid)
    beside, alone = (
        paper_sets.counts_text(rows, beside_paper=b).split("\n") for b in (True, False)
    )
    assert beside[-1].split() == ["Data-B", "covid-19", "305", str(n_covid), str(covid["patients"])]
    assert alone[-1].split() == ["Data-B", "covid-19", str(n_covid), str(covid["patients"])]
    assert "Table I" not in alone[0]


@pytest.mark.skipif(CHEST_XRAY is None, reason="DETL_CHEST_XRAY is not set: no radiographs here")
def test_the_real_tables_give_the_counts_that_their_readme_states():
    folder = Path(str(CHEST_XRAY))
    nih = tables.read_nih(
        folder / "nih/Data_Entry_2017.csv", folder / "nih/images_128", on_missing="skip"
    )
    covid = tables.read_covid(folder / "covid/metadata.csv", folder / "covid/images_128")
    assert (len(nih), len(set(nih.patients)), nih.n_missing) == (8375, 2358, 4072)
    assert np.sum(nih.labels == "Pneumonia") == 98
    assert np.sum(nih.labels == "No Finding") == 4848
    assert (len(covid), len(set(covid.patients))) == (355, 156)
    target = paper_sets.data_b(nih, covid, random_state=0)
    numbers = {name: int(np.sum(target.labels == name)) for name in paper_sets.PAPER_TARGET}
    assert numbers == {"normal": 350, "pneumonia": 98, "other": 300, "covid-19": 305}
