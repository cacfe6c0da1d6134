"""The yard: where everything that must survive lies, and how it is written so that it does.

Layout, durable publishing, digests, and the fencing of runs. A folder today; rooms above know no file names of ours
but through it. It does not know what the records mean.
"""

from modelyard.yard.digests import digest_bytes, digest_file, digest_files, digest_folder, verify_file, verify_folder
from modelyard.yard.fencing import (
    NO_COMMITS,
    Holder,
    Lease,
    check_attempt,
    claim_group,
    claims,
    counted_commits,
    counts,
    holder,
    publish_stage,
    read_stage,
    take_over,
)
from modelyard.yard.layout import RunFolder, Yard, checked_name, job_name, open_yard, short_digest
from modelyard.yard.publishing import (
    Guard,
    compare_and_swap,
    discard,
    durable_folder,
    fsync_folder,
    fsync_tree,
    publish,
    replace,
    sweep,
    temporary_name,
)
from modelyard.yard.reading import read_record

__all__ = [
    "NO_COMMITS",
    "Guard",
    "Holder",
    "Lease",
    "RunFolder",
    "Yard",
    "check_attempt",
    "checked_name",
    "claim_group",
    "claims",
    "compare_and_swap",
    "counted_commits",
    "counts",
    "digest_bytes",
    "digest_file",
    "digest_files",
    "digest_folder",
    "discard",
    "durable_folder",
    "fsync_folder",
    "fsync_tree",
    "holder",
    "job_name",
    "open_yard",
    "publish",
    "publish_stage",
    "read_record",
    "read_stage",
    "replace",
    "short_digest",
    "sweep",
    "take_over",
    "temporary_name",
    "verify_file",
    "verify_folder",
]
