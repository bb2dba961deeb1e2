"""Writes the result table of a run for MultiQC, which shows the runs below a folder in one table.

The file is custom content of MultiQC (https://docs.seqera.io/multiqc/custom_content): settings in YAML behind `#`, then
a table separated by tabs. MultiQC finds it by the end of its name and joins files of one id.
"""

import json
from pathlib import Path

from core import show_value
from core.files import replacing
from lcre.results import RESULT_COLUMNS, Column
from lcre.trained import read_columns

FORMATS = {"count": "{:,.0f}", "score": "{:,.3f}", "seconds": "{:,.0f}", "text": "{}"}
NAMES = ("chromosome", "organism")  # of a row


def write_multiqc(prefix: Path) -> Path | None:
    """Write O_result_mqc.tsv from O_result.csv: a row a fold, then the row `pooled`, named as in `demo 1`.

    Args:
        prefix: saved_models/O.

    Returns:
        The file; None where no fold is finished: an earlier file is then removed.

    Raises:
        InputError: O_result.csv is missing or damaged.
    """
    path, source = Path(f"{prefix}_result_mqc.tsv"), Path(f"{prefix}_result.csv")
    result = read_columns(source, ["chromosome"])
    if result.empty:
        path.unlink(missing_ok=True)
        return None
    columns = [column for column in RESULT_COLUMNS if column.name in result and column.name not in NAMES]
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {line}\n" for line in describe_table(columns))
        rows = [["Sample", *(column.name for column in columns)]]
        for row in result.to_dict("records"):
            rows.append([f"{prefix.name} {row['chromosome']}", *(row[column.name] for column in columns)])
        file.writelines("\t".join(show_value(cell, 200) if cell else "" for cell in cells) + "\n" for cells in rows)
    return path


def describe_table(columns: list[Column]) -> list[str]:
    """Return MultiQC's settings of a table of these columns, lines of YAML; those without `short` are hidden at first.

    Texts are written as JSON, which is YAML and needs no further quotes.
    """
    lines = [
        'id: "lcre_result"',
        'section_name: "LCRE"',
        'description: "Low against high expression, predicted from promoter and terminator: a row for each fold, whose '
        'genes took no part in training, and one for all of them (pooled)."',
        'format: "tsv"',
        'plot_type: "table"',
        "pconfig:",
        '  id: "lcre_result_table"',
        '  title: "LCRE: folds"',
        '  col1_header: "run, held out"',
        "headers:",
    ]
    for column in columns:
        lines += [
            f"  {column.name}:",
            f"    title: {json.dumps(column.label)}",
            f"    description: {json.dumps(column.meaning)}",
            f"    format: {json.dumps(FORMATS[column.format])}",
        ]
        lines += ["    min: 0", "    max: 1"] if column.format == "score" else []
        lines += [] if column.short else ["    hidden: true"]
    return lines
