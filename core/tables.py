"""Reads expression tables and lists of genes in the dialects that occur."""

import csv
import difflib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, examples, shorten
from core.files import MOST_NAMED, check_file, open_text, unescape_cells
from core.textlists import read_pickle


# ------------------------------------------------------------------------------------- expression table
def read_expression(path: Path, column: str, computed: bool) -> tuple[pd.Series, list[str]]:
    """Read one value a gene from a CSV or TSV (plain or gzip; gene ids in the first column).

    Args:
        path: the table.
        column: the column to take.
        computed: compute log10(maximum over the numeric columns + 1) where `column` is absent.

    Returns:
        A float series indexed by gene id (str), in the order of the table (its index has the name "" where the table
        is one of R's, see `read_table`); and notes for the user.

    Raises:
        InputError: not a table, gene ids twice, no such column, values that are not finite numbers.
    """
    values = read_values(path, column)
    if column in values.columns or not computed:
        return take_column(values, column, path), []
    samples = [name for name in values.columns if is_numeric(values[name])]
    for name in values.columns.difference(samples, sort=False):
        commas = values[name].str.fullmatch(DECIMAL_COMMA).fillna(False).to_numpy(bool)
        if is_numeric(values[name].mask(commas, "0")):
            gene, value = values.index[commas.argmax()], values[name].iloc[commas.argmax()]
            raise InputError(
                f"TPM: column {shorten(name)!r} of {path} has decimal commas ({shorten(gene)!r} has "
                f"{shorten(value)!r}); write decimal points instead"
            )
    if not samples:
        raise InputError(
            f"TPM: {path} has neither a column {column!r} nor numeric sample columns; it has "
            f"{examples(map(shorten, values.columns))}"
        )
    tpm = np.column_stack([to_numbers(values[name], path) for name in samples])
    if (tpm < 0).any():
        gene = values.index[np.argmax((tpm < 0).any(axis=1))]
        raise InputError(f"TPM: {path} has negative values (gene {gene!r}); give TPM, or name a TARGET_COLUMN")
    notes = [f"no column {column!r}: log10(max + 1) over {len(samples)} columns is used: {examples(samples, 30)}"]
    left = [name for name in values.columns if name not in samples]
    notes += [f"columns of the table that are not numbers are left out: {examples(left)}"] * bool(left)
    odd = [name for name in samples if NO_SAMPLE.fullmatch(name)]
    notes += [f"is {examples(odd)} a sample? Remove columns of the table that are not expression"] * bool(odd)
    return pd.Series(np.log10(tpm.max(axis=1) + 1), index=values.index, name=column), notes


def read_values(path: Path, column: str) -> pd.DataFrame:
    """Read an expression table (CSV or TSV, plain or gzip) as text, one row a gene, indexed by gene id.

    Args:
        path: the table; its first column holds the gene ids.
        column: one that is wanted; it helps to tell a table of R, see `read_table`.

    Raises:
        InputError: not a table, gene ids twice.
    """
    path = check_file(path, "TPM")
    table = read_table(path, column)
    ids = table.iloc[:, 0]
    twice = ids[ids.duplicated()].unique()
    if len(twice):
        raise InputError(
            f"TPM: {len(twice)} gene ids stand twice in {path}: {examples(map(shorten, twice))}; keep one row a gene"
        )
    return table.iloc[:, 1:].set_axis(ids, axis=0)


def take_column(values: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """Return one column of a table of `read_values` as floats.

    Raises:
        InputError: no such column, values that are not finite numbers.
    """
    if column in values.columns:
        return to_numbers(values[column], path)
    names = {name.lower(): name for name in values.columns}
    close = difflib.get_close_matches(column.lower(), names, 1)
    hint = f"did you mean {names[close[0]]!r}?" if close else f"it has {examples(map(shorten, values.columns))}"
    raise InputError(f"TPM: {path} has no column {column!r}; {hint}")


DECIMAL_COMMA = r"\s*[-+]?[\d.]*,\d+(?:[eE][-+]?\d+)?\s*"
MOST_COLUMNS = 20_000  # of samples; a table turned on its side has as many columns as genes
NO_SAMPLE = re.compile(
    r"length|start|end|width|strand|chr\w*|entrez\w*|p(adj|value)|log2?fc|.*foldchange", re.IGNORECASE
)


# What people call the column of gene ids, and that of names, in lower case without blanks, '_' and the like.
ID_COLUMNS = {"", "id", "ids", "index", "x", "accession", "identifier", "agi", "unnamed0"}
ID_COLUMNS |= {"gene", "genes", "geneid", "geneids", "genestableid", "ensemblid", "ensemblgeneid", "entrezid"}
ID_COLUMNS |= {"locus", "locusid", "locustag", "featureid", "targetid", "trackingid", "transcript", "transcriptid"}
NAME_COLUMNS = {"name", "genename", "symbol", "genesymbol"}


def read_table(path: Path, column: str) -> pd.DataFrame:
    """Read a CSV or TSV (plain or gzip) whose first column holds ids; every cell stays text.

    Empty cells beyond the header are dropped: spreadsheets and scripts end rows with a comma more. A header that is one
    name shorter than every row is read as that of R's write.table, which gives the row names no name.

    Args:
        path: the table.
        column: the column that is wanted.

    Returns:
        A frame of str with unique column names, the first of them "" for a table of R; rows without id are left out.

    Raises:
        InputError: not a table, no ids, rows that do not fit the header.
    """
    with open_text(path, "TPM") as file:
        header, first = (next((line for line in file if line.strip()), "") for _ in range(2))
        text = first + file.read()
    delimiter = max("\t,;", key=lambda mark: (header.count(mark), first.count(mark)))
    if delimiter not in header + first:
        raise InputError(f"TPM: the first line of {path} has one column: {header.strip()[:60]!r}; give CSV or TSV")
    try:
        names, cells = (next(csv.reader([line], delimiter=delimiter), []) for line in (header, first))
    except csv.Error as error:
        raise InputError(f"TPM: {path} is not a table ({error}); give CSV or TSV") from None
    if not text.strip():
        raise InputError(f"TPM: {path} has a header and no genes; copy or export it again")
    names = [name.strip() for name in names]
    numbers = pd.to_numeric(pd.Series(names if len(cells) == len(names) + 1 else names[1:], dtype=str), errors="coerce")
    if np.isfinite(numbers).all() and (numbers % 1).any():  # whole numbers may be names of samples
        raise InputError(
            f"TPM: the first line of {path} holds numbers ({examples(names[1:])}), no names of columns; put a line "
            "such as gene_id,sample1 in front"
        )
    width = max(len(names), len(cells)) + 1
    if width > MOST_COLUMNS:
        raise InputError(
            f"TPM: {path} has {width - 1:,} columns; give a table with genes in rows and samples in columns"
        )
    try:
        table = parse_cells(text, delimiter, width)
    except (ValueError, pd.errors.ParserError) as error:
        rows = measure_rows(path, delimiter)
        reason = describe_long_rows(rows, len(names), delimiter)
        if reason or all(cells <= width for _, cells, _ in rows):
            raise InputError(f"TPM: {path} is not a table ({reason or ' '.join(str(error).split())})") from None
        short = (row[: len(names)] for row in csv.reader(io.StringIO(text), delimiter=delimiter))
        text = io.StringIO()  # again, without the empty cells that some rows have at their end
        csv.writer(text, delimiter=delimiter).writerows(short)
        table = parse_cells(text.getvalue(), delimiter, width)
    table[0] = table[0].str.strip()
    nameless = table[table[0] == ""]  # spreadsheets leave rows of commas
    if (nameless.fillna("").map(str.strip) != "").any(axis=None):
        raise InputError(f"TPM: {len(nameless)} rows of {path} have no gene id in their first column")
    table = table[table[0] != ""]
    if table.empty:
        raise InputError(f"TPM: {path} has a header and no genes")
    return name_columns(table, names, column, path, delimiter)


def parse_cells(text: str, delimiter: str, width: int) -> pd.DataFrame:
    """Return the rows of a table as `width` columns of str; raise ValueError or ParserError where that cannot be."""
    table = pd.read_csv(  # names such as NA and null are gene ids, so nothing is taken as missing here
        io.StringIO(text), sep=delimiter, header=None, names=range(width), dtype=str, keep_default_na=False
    )
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first cells of a longer row for an index
        raise ValueError("the first row has more cells than the header")
    return table


def name_columns(table: pd.DataFrame, names: list[str], column: str, path: Path, delimiter: str) -> pd.DataFrame:
    """Give the columns of a table their names, and drop empty ones without a name; `read_table` says the rest.

    Args:
        table: cells as str, "" behind the end of a row; its columns are numbers, more of them than there are names.
        names: those of the header, stripped.
        column, path, delimiter: as in `read_table`.
    """

    def is_empty(number: int) -> bool:
        return (table[number].fillna("").str.strip() == "").all()

    beyond = len(names)
    fits = all(map(is_empty, range(beyond, table.shape[1])))
    if not fits or names[0] == column:
        rows = measure_rows(path, delimiter)
        if all(cells > beyond for _, cells, _ in rows) and all(map(is_empty, range(beyond + 1, table.shape[1]))):
            if is_name_of_ids(names[0], table) or may_be_decimal_commas(table, beyond, delimiter):
                shown = examples((shorten(cell) for cell in table.iloc[0, : beyond + 1]), 4)
                raise InputError(
                    f"TPM: the rows of {path} have one cell more than its header (the first: {shown}), whose first "
                    f"name is {names[0]!r}; remove that cell, write decimal points instead of commas, or name every "
                    "column"
                )
            return table.loc[:, :beyond].set_axis(["", *clean_header(names)], axis=1)
        if not fits:
            raise InputError(f"TPM: {path} is not a table ({describe_long_rows(rows, beyond, delimiter)})")
    if names[-1] and is_empty(beyond - 1) and all(cells < beyond for _, cells, _ in measure_rows(path, delimiter)):
        raise InputError(
            f"TPM: no row of {path} has as many cells as its header has names ({beyond}); give each column one name"
        )
    for number in range(1, beyond):
        if not names[number] and not is_empty(number):
            raise InputError(f"TPM: column {number + 1} of {path} has values but no name; name it in the first line")
    table = table.loc[:, : beyond - 1].set_axis(clean_header(names), axis=1)
    return table.loc[:, [True] + [bool(name) for name in names[1:]]]


def is_name_of_ids(name: str, table: pd.DataFrame) -> bool:
    """Tell whether a header's first name is that of the first column, although the rows have one cell more.

    In a table of R it is that of the second: ids again under a name such as gene_id, no numbers under gene_name.
    """
    name = re.sub(r"[\W_]+", "", name).lower()
    if name in ID_COLUMNS:
        return not (table[1].str.strip() == table[0]).all()
    return name in NAME_COLUMNS and is_numeric(table[1])


def may_be_decimal_commas(table: pd.DataFrame, beyond: int, delimiter: str) -> bool:
    """Tell whether rows of one cell more than a header of two names may be an id and one number such as 12,5."""
    digits = (
        [table[number].str.strip().str.fullmatch(r"[-+]?\d+").all() for number in (1, 2)] if beyond == 2 else [False]
    )
    return delimiter == "," and all(digits)


def measure_rows(path: Path, delimiter: str) -> list[tuple[int, int, int]]:
    """Return of each row below the header its last line, its cells, and how many they are to the last with content.

    Rows of empty cells only are left out. This is for tables whose rows do not fit their header: pandas does not tell
    an empty cell from one that is not there.
    """
    with open_text(path, "TPM") as file:
        rows = csv.reader(file, delimiter=delimiter)
        try:
            filled = ((rows.line_num, row, [at for at, cell in enumerate(row, 1) if cell.strip()]) for row in rows)
            return [(line, len(row), cells[-1]) for line, row, cells in filled if cells][1:]
        except csv.Error as error:
            raise InputError(f"TPM: {path} is not a table ({error}); give CSV or TSV") from None


def describe_long_rows(rows: list[tuple[int, int, int]], most: int, delimiter: str) -> str:
    """Return which rows, as `measure_rows` gives them, have more than `most` cells; "" if none has."""
    found = [f"line {line} has {cells} cells" for line, _, cells in rows if cells > most]
    more = ", ..." if len(found) > 3 else ""
    hint = "; are there decimal commas?" if delimiter == "," else ""
    return f"{', '.join(found[:3])}{more}; its header has {most}{hint}" if found else ""


def clean_header(names: list[str]) -> list[str]:
    """Return column names stripped and made unique; an empty first one is allowed, as R and pandas write it."""
    names = [name.strip() for name in names]
    names[0] = names[0] or "gene_id"
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    return [name if first[name] == place else f"{name}.{place}" for place, name in enumerate(names)]


def is_numeric(column: pd.Series) -> bool:
    """Tell whether most of a text column reads as numbers (a few that do not are an error, not a label)."""
    return pd.to_numeric(column, errors="coerce").notna().mean() > 0.5


def to_numbers(column: pd.Series, path: Path, what: str = "TPM", empty: bool = False) -> pd.Series:
    """Return a text column as finite floats; raise InputError that names the first rows that are not, by the index.

    Args:
        column: of str.
        path, what: the table and what it is, as messages call it.
        empty: cells may be empty, which gives nan.
    """
    if empty:
        return to_numbers(column.replace("", "0"), path, what).where(column != "")
    numbers = pd.to_numeric(column, errors="coerce")
    bad = ~np.isfinite(numbers.to_numpy(float, na_value=np.nan))
    if bad.any():
        first = column[bad].head(3).items()
        shown = ", ".join(f"{shorten(gene)!r} has {shorten(str(value))!r}" for gene, value in first)
        comma = column[bad].str.fullmatch(DECIMAL_COMMA).all()
        raise InputError(
            f"{what}: {int(bad.sum())} values of column {shorten(str(column.name))!r} in {path} are not finite "
            f"numbers: {shown}; "
            + ("write decimal points instead of commas" if comma else "correct or remove these rows")
        )
    return numbers.astype(float)


# --------------------------------------------------------------------------------- tables with named columns
def read_columns(
    path: Path,
    columns: Sequence[str],
    what: str,
    optional: Sequence[str] = (),
    keep: Callable[[pd.DataFrame], pd.Series] | None = None,
    most: int | None = None,
) -> pd.DataFrame:
    """Read columns of a TSV or CSV (plain or gzip) by name; other columns are ignored.

    Args:
        path: the table; its first line names the columns.
        columns: those it must have.
        what: the table is, as messages call it.
        optional: columns that it may have.
        keep: tells which rows of a piece of the table are wanted; large tables are read in pieces.
        most: rows that such a table may have; None: as many as there are.

    Returns:
        A frame of str, indexed by `row 1`, `row 2`, ... behind the header, with the columns that are there.

    Raises:
        InputError: not a table, a column that is not there, more than `MOST_NAMED`, no rows, more than `most`.
    """
    path = check_file(path, what)
    with open_text(path, what) as file:
        header = next((line.rstrip("\r\n") for line in file if line.strip()), "")
        delimiter = "\t" if "\t" in header else ","
        names = [name.strip().strip('"') for name in header.split(delimiter)]
        if len(names) > MOST_NAMED:
            raise InputError(
                f"{what}: the first line of {path} has {len(names):,} names; give the table that was meant"
            )
        missing = [name for name in columns if name not in names]
        if missing:
            raise InputError(
                f"{what}: {path} has no column {examples(missing, 12)}; its first line has "
                f"{examples(map(shorten, names), 50)}"
            )
        wanted = [name for name in dict.fromkeys([*columns, *optional]) if name in names]
        pieces, rows = [], 0
        try:
            for piece in pd.read_csv(
                file,
                sep=delimiter,
                header=None,
                names=range(len(names) + 1),
                index_col=False,
                dtype=str,
                keep_default_na=False,
                chunksize=200_000,
            ):
                piece = piece.fillna("")
                piece.index = [f"row {number}" for number in range(rows + 1, rows + 1 + len(piece))]
                longer = piece.index[piece[len(names)].str.strip() != ""]
                if len(longer):
                    raise InputError(
                        f"{what}: {path} is not a table: {examples(longer)} has more cells than its header has names "
                        f"({len(names)}); are there decimal commas?"
                    )
                piece = piece[[names.index(name) for name in wanted]].set_axis(wanted, axis=1).apply(unescape_cells)
                rows += len(piece)
                if most is not None and rows > most:
                    raise InputError(f"{what}: {path} has more than {most:,} rows; give the table that was meant")
                pieces.append(piece if keep is None else piece[keep(piece)])
        except (ValueError, pd.errors.ParserError) as error:
            raise InputError(f"{what}: {path} is not a table ({' '.join(str(error).split())})") from None
    if not rows:
        raise InputError(f"{what}: {path} has a header and no rows")
    return pd.concat(pieces)


def require_row_names(values: pd.Series, partner: dict[str, str], genes: int, path: Path) -> None:
    """Raise InputError where row names of a table of R (see `read_table`) are not the gene ids of the annotation.

    Args:
        values: of `read_expression`.
        partner: the annotation's id -> the table's, for genes in both.
        genes: how many the annotation has.
        path: the table.
    """
    if values.index.name == "" and 2 * len(partner) < min(len(values), genes):
        raise InputError(
            f"TPM: the rows of {path} have one cell more than its header, as R writes row names, but of these "
            f"({examples(map(shorten, values.index))}) only {len(partner):,} are gene ids of the GTF; name every column"
        )


# ---------------------------------------------------------------------------------------- lists of genes
def read_gene_list(path: Path, key: str | None) -> list[str]:
    """Read the gene ids that may be scored from .pickle (a dict key -> ids, or ids), .csv or .txt.

    Of a .csv the column gene_id is taken, or the first.

    Raises:
        InputError: no such key, nothing in it, a pickle that would run code, an unknown kind of file.
    """
    path = check_file(path, "VALIDATION_GENES")
    suffix = path.suffix.lower()
    if suffix in (".pickle", ".pkl"):
        ids = pickled_ids(path, key)
    elif suffix in (".csv", ".tsv", ".txt"):
        with open_text(path, "VALIDATION_GENES") as file:
            lines = [line for line in map(str.strip, file) if line and not line.startswith("#")]
        delimiter = max("\t,;", key=lines[0].count) if lines and suffix != ".txt" else "\n"
        try:
            rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
        except csv.Error as error:  # a cell beyond the csv module's 131,072 characters
            raise InputError(f"VALIDATION_GENES: {path} is not a list of gene ids ({error}); one id a line") from None
        header = [name.lower() for name in rows[0]] if rows else []
        column = header.index("gene_id") if "gene_id" in header else 0
        ids = [row[column] for row in rows["gene_id" in header :] if len(row) > column and row[column]]
        ids = unescape_cells(pd.Series(ids, dtype=str)).tolist()
    else:
        raise InputError(f"VALIDATION_GENES: {path} is not .pickle, .csv, .tsv or .txt")
    if not ids:
        raise InputError(f"VALIDATION_GENES: {path} holds no gene ids")
    return list(dict.fromkeys(ids))


def pickled_ids(path: Path, key: str | None) -> list[str]:
    """Return the gene ids of a pickle: a list of them, or those under `key` of a dict."""
    content = read_pickle(path, "give the gene ids as .csv or .txt")
    if isinstance(content, dict):
        content = {str(name): ids for name, ids in content.items()}
        if key is None and len(content) == 1:
            key = next(iter(content))
        if not content:
            asked = f"no key {key!r}" if key else "no keys"
            raise InputError(f"VALIDATION_GENES: {path} has {asked}: its dictionary is empty; save the gene ids again")
        if key not in content:
            asked = f"no key {key!r}" if key else "several keys and PICKLE_KEY is not given"
            shown = examples(map(shorten, content), 12)
            raise InputError(f"VALIDATION_GENES: {path} has {asked}; its keys: {shown}")
        content = content[key]
    if not isinstance(content, list):
        raise InputError(f"VALIDATION_GENES: {path} does not hold a list of gene ids but a {type(content).__name__}")
    wrong = [type(gene).__name__ for gene in content if type(gene) not in (str, int)]
    if wrong:
        raise InputError(f"VALIDATION_GENES: {path} holds {len(wrong)} entries that are not gene ids but {wrong[0]}")
    return [str(gene).strip() for gene in content]
