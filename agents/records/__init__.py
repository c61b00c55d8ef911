"""Records of results: every number in the documentation is rendered from one, never typed."""

from agents.records.comparison import Difference, paired_difference
from agents.records.files import check_replaceable, is_measured, load_records, save_records, update_records
from agents.records.images import averages, images_path, load_images, save_images
from agents.records.markdown import render_file, render_text, table_of
from agents.records.provenance import git_commit, package_versions, provenance
from agents.records.record import METHODS, Record, RecordError
from agents.records.tables import Table, make_table

__all__ = [
    "METHODS",
    "Difference",
    "Record",
    "RecordError",
    "Table",
    "averages",
    "check_replaceable",
    "git_commit",
    "images_path",
    "is_measured",
    "load_images",
    "load_records",
    "make_table",
    "package_versions",
    "paired_difference",
    "provenance",
    "render_file",
    "render_text",
    "save_images",
    "save_records",
    "table_of",
    "update_records",
]
