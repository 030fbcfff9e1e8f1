"""examples/09_push.py against a real HTTP server; in a child process, since the Hub's address is read at import."""

import json
import os
import subprocess
import sys
from pathlib import Path

from huggingface_hub import ModelCard
from tiny_models import tiny_model, tiny_processor

ROW = {
    "protocol": "custom",
    "source": "mine",
    "metric": "pixel_f1",
    "value": 0.25,
    "n": 6,
    "reduction": "image",
    "classes": "forged",
    "empty_rule": "skip",
    "threshold": 0.5,
}


def test_push_publishes_what_loads_with_equal_outputs(mini_hub, repository, tmp_path):
    tiny_model("iclnet").save_pretrained(tmp_path / "model")
    tiny_processor("iclnet").save_pretrained(tmp_path / "model")
    (tmp_path / "rows.json").write_text(json.dumps([ROW]))
    script, repo_id = repository / "examples" / "09_push.py", "org/pushed-by-example"
    words = [Path(__file__).with_name("example_child.py"), script, tmp_path / "model", repo_id]
    hub = {"HF_ENDPOINT": mini_hub.url, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, *map(str, words), "--metrics", str(tmp_path / "rows.json")],
        env={**os.environ, **hub},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert child.stdout.splitlines()[-1] == f"{mini_hub.url}/{repo_id}: ICLNetForForgerySegmentation, equal outputs"
    assert mini_hub.private[repo_id]
    files = mini_hub.files(repo_id)
    assert "modeling_iclnet.py" in files
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert [result.metric_value for result in card.data.eval_results] == [0.25]
