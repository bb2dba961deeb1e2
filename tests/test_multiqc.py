"""O_result_mqc.tsv: the result table as MultiQC reads it."""

from pathlib import Path

import pytest
from builders import write

from lcre.multiqc import write_multiqc

RESULT = (
    "chromosome,accuracy,auROC,auPR,organism,training_size,validation_size,test_size,best_epoch,seconds,later\n"
    "IV+VII,0.8,0.9,0.85,toy,4000,238,950,10,676.7,x\n"
    "1,0.75,,0.5,toy,4100,240,10,0,600.0,x\n"  # of one class only
    "pooled,0.79,0.88,0.84,toy,,,960,,1276.7,x\n"
)


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """The settings, without the sign of a comment, and the rows of a file, as MultiQC takes it apart."""
    lines = path.read_text().splitlines()
    settings = [line[2:] for line in lines if line.startswith("# ")]
    assert lines[: len(settings)] == [f"# {line}" for line in settings]
    return settings, [line.split("\t") for line in lines[len(settings) :]]


def test_a_row_a_fold_with_the_cells_of_the_result_table(tmp_path):
    """Without columns that this version does not know, or that the run does not have; an empty cell stays empty."""
    write(tmp_path / "toy_result.csv", RESULT)
    path = write_multiqc(tmp_path / "toy")
    assert path == tmp_path / "toy_result_mqc.tsv"
    settings, table = read(path)
    names = ["accuracy", "auROC", "auPR", "training_size", "validation_size", "test_size", "best_epoch", "seconds"]
    assert table == [
        ["Sample", *names],
        ["toy IV+VII", "0.8", "0.9", "0.85", "4000", "238", "950", "10", "676.7"],
        ["toy 1", "0.75", "", "0.5", "4100", "240", "10", "0", "600.0"],
        ["toy pooled", "0.79", "0.88", "0.84", "", "", "960", "", "1276.7"],
    ]
    for line in ('id: "lcre_result"', 'plot_type: "table"', 'format: "tsv"', "pconfig:", "headers:"):
        assert settings.count(line) == 1
    assert [line.strip(" :") for line in settings[settings.index("headers:") + 1 :] if line[2] != " "] == names


def test_settings_are_yaml(tmp_path):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; it comes with MultiQC, and with Dask")
    write(tmp_path / "toy_result.csv", RESULT)
    settings = yaml.safe_load("\n".join(read(write_multiqc(tmp_path / "toy"))[0]))
    assert list(settings) == ["id", "section_name", "description", "format", "plot_type", "pconfig", "headers"]
    assert settings["headers"]["auROC"] == {
        "title": "auROC",
        "description": "area under the ROC curve on the test genes; 0.5 is guessing",
        **{"format": "{:,.3f}", "min": 0, "max": 1},
    }
    assert settings["headers"]["training_size"]["hidden"] is True


def test_without_a_finished_fold_there_is_no_file(tmp_path):
    write(tmp_path / "toy_result.csv", RESULT)
    write_multiqc(tmp_path / "toy")
    write(tmp_path / "toy_result.csv", RESULT.split("\n", 1)[0] + "\n")
    assert write_multiqc(tmp_path / "toy") is None
    assert [path.name for path in tmp_path.iterdir()] == ["toy_result.csv"]
