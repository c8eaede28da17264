"""Requests a second and p95 of `fedethics serve`, beside a plain loop of transformers.

Both answer the same requests in this process, on the same threads; ours over HTTP on loopback, the
loop without any network. The weights are those of a seeded adapter: nothing is judged here, and no
release is verified.

    python -m tools.bench.serving classifier
    python -m tools.bench.serving chat
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import torch
import uvicorn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from fedethics.charter.document import load
from fedethics.data.reading import raw_rows
from fedethics.policy.model import Compute
from fedethics.scoring import export
from fedethics.scoring.new_records import read_new
from fedethics.serving import service as serving
from fedethics.serving.http import application
from fedethics.serving.service import Service
from fedethics.site.workbench import learner_for
from tools.bench.training import ROOT

TOKENS = 32
PROMPTS = ("What is a fever?", "Name three vegetables.", "Why is sleep useful?", "Say hello.")


def main() -> None:
    """Print one table of two rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=tuple(_CASES))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        preset, count, prepare = _CASES[chosen.kind]
        release = _release(Path(scratch), preset)
        asks, plain = prepare(release, Path(scratch))
        number = chosen.requests or count
        plain(0)  # what is loaded or compiled once
        _row("plain transformers, one by one", *_timed(plain, number, 1))
        for batches in ("alone", "proven"):
            with _served(release, Compute(batches=batches)) as address:
                ask = asks(address)
                ask(0)
                for clients in (1, chosen.clients):
                    name = f"serve, {batches}, {clients} client(s)"
                    _row(name, *_timed(ask, number, clients))


def _row(name: str, rate: float, p50: float, p95: float) -> None:
    told = f"{rate:7.1f} requests/s   p50 {p50 * 1e3:7.1f} ms   p95 {p95 * 1e3:7.1f} ms"
    print(f"{name:34s} {told}", flush=True)


def _timed(ask: Callable[[int], object], count: int, clients: int) -> tuple[float, float, float]:
    def one(number: int) -> float:
        began = time.perf_counter()
        ask(number)
        return time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        took = list(pool.map(one, range(count)))
    whole = time.perf_counter() - began
    return count / whole, float(np.quantile(took, 0.5)), float(np.quantile(took, 0.95))


def _release(scratch: Path, preset: str) -> SimpleNamespace:
    charter = load(ROOT / "configs" / f"{preset}.charter.toml")
    learner = learner_for(charter, None, Compute())
    run = scratch / "run"
    learner.save_adapter(learner.seeded_vector(), run / "adapter")
    (run / "adapter" / "README.md").write_text("", encoding="utf-8")
    (run / "manifest.json").write_text("{}", encoding="utf-8")
    data = (run / "adapter" / "adapter_model.safetensors").read_bytes()
    evidence = SimpleNamespace(
        model_hash=hashlib.sha256(data).hexdigest(), run_id="bench", charter_hash="0" * 64
    )
    return SimpleNamespace(path=run, charter=charter, evidence=evidence)


@contextmanager
def _served(release: SimpleNamespace, compute: Compute) -> Iterator[str]:
    with patch.object(serving, "require_released", lambda _run: release):
        service = Service(release.path, compute=compute)
    config = uvicorn.Config(
        application(service, token="", most_tokens=TOKENS), port=0, log_level="error",
        access_log=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    service.close()


def _exported(release: SimpleNamespace, scratch: Path) -> Path:
    out = scratch / "model"
    with (
        patch.object(export, "require_released", lambda _run: release),
        patch.object(export, "standing", lambda _opened: ("", "")),
    ):
        export.export_release(release.path, out=out)
    return out


Asked = Callable[[int], object]
# From an address to what asks there; and the plain loop.
Pair = tuple[Callable[[str], Asked], Asked]


def _classifier(release: SimpleNamespace, scratch: Path) -> Pair:
    data = ROOT / ".data" / "heart" / "hungary.csv"
    terms = release.charter.data
    texts = [one.content for one in read_new(data, terms) if one.content]
    left_in = {one.line for one in read_new(data, terms) if one.content}
    rows = [row for line, row in raw_rows(data, terms) if line in left_in]
    folder = _exported(release, scratch)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def asks(address: str) -> Asked:
        client = httpx.Client(base_url=address, timeout=60)

        def ask(number: int) -> object:
            told = client.post("/v1/predict", json={"records": [rows[number % len(rows)]]})
            return told.raise_for_status()

        return ask

    def plain(number: int) -> object:
        text = texts[number % len(texts)]
        with torch.no_grad():
            inputs = tokenizer(text, truncation=True, return_tensors="pt")
            return model(**inputs).logits.softmax(dim=1)

    return asks, plain


def _chat(release: SimpleNamespace, scratch: Path) -> Pair:
    folder = _exported(release, scratch)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()

    def turns(number: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": PROMPTS[number % len(PROMPTS)]}]

    def asks(address: str) -> Asked:
        client = httpx.Client(base_url=address, timeout=600)

        def ask(number: int) -> object:
            asked = {"messages": turns(number), "max_tokens": TOKENS}
            return client.post("/v1/chat/completions", json=asked).raise_for_status()

        return ask

    def plain(number: int) -> object:
        # The charter's own words stand around the prompt, as at the sites.
        (turn,) = turns(number)
        asked = release.charter.model.prompt.replace("{prompt}", turn["content"])
        inputs = tokenizer(asked, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            return model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)

    return asks, plain


_CASES: dict[str, tuple[str, int, Callable[[SimpleNamespace, Path], Pair]]] = {
    "classifier": ("heart", 300, _classifier),
    "chat": ("rewrite", 16, _chat),
}

if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
