"""The command: its words, its logs, what it loads."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from modelyard_operator.kinds.objects import TRAINING_JOBS, ObjectKey
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.runtime import main as command
from modelyard_operator.runtime.logs import OBJECT, JsonLines

HEAVY = {"torch", "ray", "deepspeed", "transformers"}
EVERYTHING = """
import pkgutil, sys, modelyard_operator
for module in pkgutil.walk_packages(modelyard_operator.__path__, "modelyard_operator."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
PRINTING = """
import sys
from modelyard_operator.runtime.main import main
code = main(["crds"])
print("#", code, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_all_of_it_together_loads_neither_torch_nor_ray() -> None:
    assert HEAVY.isdisjoint(run(EVERYTHING).split())


def test_crds_prints_them_without_a_kubernetes_client() -> None:
    text, _, told = run(PRINTING).rpartition("# ")
    assert told.split()[0] == "0"
    assert {"kubernetes", "aiohttp", *HEAVY}.isdisjoint(told.split())
    documents = [document for document in YAML(typ="safe").load_all(text) if document]
    assert {document["kind"] for document in documents} == {"CustomResourceDefinition"}
    kinds = {document["spec"]["names"]["kind"] for document in documents}
    assert kinds == {"TrainingJob", "EvaluationJob", "ModelDeployment"}


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ([], Settings()),
        (["run", "--platform-image", "here/it:1"], Settings(platform_image="here/it:1")),
        (["--cluster-domain=other"], Settings(cluster_domain="other")),
    ],
)
def test_what_is_left_out_keeps_its_default(words: list[str], settings: Settings) -> None:
    assert command._settings(command._parser().parse_args(words)) == settings


def test_wrong_words_are_refused() -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(["fly"])
    assert raised.value.code == 2


def test_a_log_line_names_the_object_and_keeps_what_came_with_it() -> None:
    record = logging.makeLogRecord(
        {"name": "a.b", "levelname": "INFO", "levelno": 20, "msg": "did %s\nso", "args": ("x",)}
    )
    record.port = 7
    record._stamp_of_a_library = 8
    token = OBJECT.set(ObjectKey(TRAINING_JOBS, "n", "job"))
    try:
        line = JsonLines().format(record)
    finally:
        OBJECT.reset(token)
    assert "\n" not in line
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "level": "info",
        "logger": "a.b",
        "message": "did x\nso",
        "object": "trainingjobs.modelyard.dev/n/job",
        "port": 7,
    }


def test_a_fault_is_one_line_with_its_traceback() -> None:
    try:
        raise KeyError("what")
    except KeyError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "KeyError: 'what'" in json.loads(line)["traceback"]
