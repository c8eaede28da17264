"""A synthetic run directory, clearly invented: four sites, seeded scores, receipts really signed.

The noise here comes from a seeded generator because these are tests; real runs never do that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.charter import document
from fedethics.charter.model import Charter, Member
from fedethics.charter.signing import CharterSignature, sign
from fedethics.charter_sums import layout_of
from fedethics.fairness import tabulate
from fedethics.identity import Identity
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger.receipt import Receipt, SumSeen, sign_receipt
from fedethics.privacy.plan import make_plan
from fedethics.release import comparisons, durable, evidence, receipts
from fedethics.release.comparisons import Comparison, Comparisons
from fedethics.release.evidence import (
    Dropout,
    Evidence,
    OpenedSum,
    Package,
    Progress,
    SignedReceipt,
)
from fedethics.release.plan_facts import plan_facts
from fedethics.release.publish import publish
from fedethics.secagg.rules import sites_hash

SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")
RUN = "heart-synthetic-0001"
DRAFT = Path(__file__).parents[2] / "configs" / "heart.charter.toml"


def tensors(charter: Charter) -> dict[str, np.ndarray]:
    """Named as peft names them; the sizes of the model are invented."""
    rank, found = charter.adapter.rank, {}
    for layer in charter.adapter.layers:
        for target in charter.adapter.targets:
            module = f"base_model.model.bert.encoder.layer.{layer}.attention.self.{target}"
            found[f"{module}.lora_A.weight"] = np.ones((rank, 4), np.float32)
            found[f"{module}.lora_B.weight"] = np.ones((4, rank), np.float32)
    if charter.model.task == "classification":
        found["base_model.model.classifier.weight"] = np.ones((2, 4), np.float32)
    return found


def adapter_bytes(charter: Charter) -> bytes:
    """An adapter file as training writes it."""
    return save(tensors(charter), metadata={"format": "pt"})


def adapter_sha256(charter: Charter) -> str:
    return hashlib.sha256(adapter_bytes(charter)).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A charter with its keys, from which runs are made."""

    charter: Charter
    identities: dict[str, Identity]
    coordinator: Identity

    def signatures(self, *, simulated: bool = False) -> tuple[CharterSignature, ...]:
        """Sign as every site and the coordinator, before the run."""
        keys = [("site", key) for key in self.identities.values()]
        when = datetime(2026, 1, 1, tzinfo=UTC)
        return tuple(
            sign(self.charter, key, role=role, simulated=simulated, signed=when)
            for role, key in (*keys, ("coordinator", self.coordinator))
        )

    def with_charter(self, **changes: object) -> Stage:
        return dataclasses.replace(self, charter=dataclasses.replace(self.charter, **changes))

    def receipt(self, site: str, **changes: object) -> SignedReceipt:
        plan, rounds = make_plan(self.charter), tuple(range(1, self.charter.training.rounds + 1))
        receipt = Receipt(
            site=site,
            run_id=RUN,
            charter_hash=document.hash_of(self.charter),
            began="2026-01-02T03:04:09+00:00",
            issued="2026-01-02T03:09:05+00:00",
            unit="record",
            neighbouring="add-or-remove-one",
            delta=plan.delta,
            training_rounds=rounds,
            training_epsilon=_finite(plan.training.epsilon),
            evaluation_rounds=(*plan.progress.rounds, rounds[-1]),
            evaluation_epsilon=_finite(plan.evaluation.epsilon),
            self_test_passed=True,
            ledger_entries=21,
            ledger_head="ab" * 32,
        )
        receipt = dataclasses.replace(receipt, **changes)
        return receipts.from_envelope(sign_receipt(receipt, self.identities[site]))

    def redone_receipt(self, site: str, number: int) -> SignedReceipt:
        """A receipt of a site that paid for training round `number` twice."""
        plan = make_plan(self.charter)
        rounds = tuple(sorted((*range(1, self.charter.training.rounds + 1), number)))
        spent = epsilon([plan.update.event] * len(rounds), delta=plan.delta)
        return self.receipt(site, training_rounds=rounds, training_epsilon=spent)

    def evidence(
        self,
        *,
        records: int = 262,
        skill: float = 2.6,
        unfair: float = 0.0,
        noise: bool = True,
        memory: float = 0.0,
    ) -> Evidence:
        """Evidence of a run whose model has this skill, and sees `unfair` less in women.

        `memory` is how much surer it is of what it was trained on, where an audit is asked for.
        """
        charter, plan = self.charter, make_plan(self.charter)
        rng = np.random.default_rng(20260102)
        table = _table(charter, rng, records=records, skill=skill, unfair=unfair)
        cut = layout_of(charter).counts_length
        variances = [plan.fairness.counts.sum_variance, plan.fairness.histogram.sum_variance]
        if noise:
            table[:cut] += _skellam(rng, variances[0], cut)
            table[cut:] += _skellam(rng, variances[1], table.size - cut)
        counts, histogram = tuple(map(int, table[:cut])), tuple(map(int, table[cut:]))
        changes, changes_variances = _changes(charter, records=records, noise=noise)
        progress = tuple(
            _progress(rng, number, records, plan.progress.noise.sum_variance if noise else 0.0)
            for number in plan.progress.rounds
        )
        audit = _audit(self.charter, records=records, memory=memory)
        rounds = _sums(charter, progress, counts + histogram + changes, audit)
        return Evidence(
            run_id=RUN,
            started="2026-01-02T03:04:05Z",
            finished="2026-01-02T03:09:05Z",
            charter_hash=document.hash_of(charter),
            charter_signatures=self.signatures(),
            model_hash=adapter_sha256(charter),
            base_model_sha256=charter.model.sha256,
            schema_hash=document.schema_hash(charter),
            code_hash="cd" * 32,
            versions=(
                Package(name="numpy", version="2.4.6"),
                Package(name="torch", version="2.13"),
            ),
            test_mode=False,
            plan=plan_facts(charter),
            counts=counts,
            histogram=histogram,
            counts_variance=variances[0] if noise else 0.0,
            histogram_variance=variances[1] if noise else 0.0,
            explanation=changes,
            effects_variance=changes_variances[0],
            flips_variance=changes_variances[1],
            progress=progress,
            audit=audit,
            rounds=rounds,
            receipts=tuple(self.receipt(site, sums=_seen(charter, rounds, site)) for site in SITES),
        )


def _seen(charter: Charter, rounds: tuple[OpenedSum, ...], site: str) -> tuple[SumSeen, ...]:
    return tuple(
        SumSeen(
            kind=entry.kind,
            round=entry.round,
            session=entry.session,
            cohort=sites_hash(entry.cohort),
            survivors=sites_hash(entry.survivors),
            sha256=entry.sum_sha256,
            slices="passed",
            adapter=None if entry.kind == "update" else adapter_sha256(charter),
        )
        for entry in rounds
        if site in entry.survivors
    )


def _table(
    charter: Charter, rng: np.random.Generator, *, records: int, skill: float, unfair: float
) -> np.ndarray:
    shares = np.array([0.07, 0.09, 0.08, 0.27, 0.30, 0.19])
    cells = rng.choice(6, size=records, p=shares)
    female = cells < 3
    labels = (rng.random(records) < np.where(female, 0.36, 0.6)).astype(np.int64)
    logits = rng.normal(0, 1.4, records) + skill * (labels - 0.5)
    logits -= unfair * female * labels
    return tabulate(
        layout_of(charter),
        groups=np.stack([cells // 3, cells % 3], axis=1)[:, : len(charter.data.sensitive)],
        labels=labels,
        scores=1 / (1 + np.exp(-logits)),
    ).astype(np.int64)


def _changes(
    charter: Charter, *, records: int, noise: bool
) -> tuple[tuple[int, ...], tuple[float, float]]:
    """Sums of a model that leans on its first columns most, and flips one woman in ten."""
    explained, plan = layout_of(charter).explained, make_plan(charter)
    rng = np.random.default_rng(20260104)
    columns = len(explained.columns) * explained.groups
    effects = np.zeros(explained.effects_length, dtype=np.int64)
    effects[:columns] = records * explained.steps * 0.5 / (1 + np.arange(columns))
    flips = np.zeros(explained.flips_length, dtype=np.int64)
    flips[:1] = records // 40
    variances = [plan.fairness.effects.sum_variance, plan.fairness.flips.sum_variance]
    if not noise or not explained.length:
        return (*map(int, effects), *map(int, flips)), (0.0, 0.0)
    for block, variance in zip((effects, flips), variances, strict=True):
        block += _skellam(rng, variance, block.size)
    return (*map(int, effects), *map(int, flips)), (variances[0], variances[1])


def _skellam(rng: np.random.Generator, variance: float, size: int) -> np.ndarray:
    return rng.poisson(variance / 2, size) - rng.poisson(variance / 2, size)


def _audit(charter: Charter, *, records: int, memory: float) -> tuple[int, ...]:
    plan = make_plan(charter).audit
    if plan is None:
        return ()
    rng = np.random.default_rng(20260103)
    halves = ((2 * records, memory, plan.members), (records, 0.0, plan.non_members))
    found: list[int] = []
    for count, surer, half in halves:
        right = 1 / (1 + np.exp(-rng.normal(1.0 + surer, 1.2, count)))
        table = np.histogram(right, bins=plan.bins, range=(0, 1))[0]
        found += (table + _skellam(rng, half.sum_variance, plan.bins)).tolist()
    return tuple(found)


def _progress(rng: np.random.Generator, number: int, records: int, variance: float) -> Progress:
    right = 0.62 + 0.03 * number
    exact = records * np.array([0.46 * right, 0.46 * (1 - right), 0.54 * (1 - right), 0.54 * right])
    counts = np.round(exact).astype(np.int64)
    if variance:
        counts += _skellam(rng, variance, 4)
    return Progress(round=number, counts=tuple(map(int, counts)), variance=variance)


def _sums(
    charter: Charter,
    progress: tuple[Progress, ...],
    final: tuple[int, ...],
    audit: tuple[int, ...],
) -> tuple[OpenedSum, ...]:
    light = {entry.round: entry for entry in progress}
    found: list[OpenedSum] = []
    for number in range(1, charter.training.rounds + 1):
        away = {3: "switzerland"}.get(number)
        found.append(
            OpenedSum(
                round=number,
                kind="update",
                session=session_of("update", number),
                cohort=SITES,
                survivors=tuple(site for site in SITES if site != away),
                dropped=(Dropout(site=away, stage="masked"),) if away else (),
                sum_sha256=f"{number:064x}",
            )
        )
        if number in light:
            digest = sum_sha256(light[number].counts)
            found.append(_whole(number, "progress", digest))
    if audit:
        found.append(_whole(charter.training.rounds, "audit", sum_sha256(audit)))
    found.append(_whole(charter.training.rounds, "fairness", sum_sha256(final)))
    return tuple(found)


def session_of(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


def _whole(number: int, kind: str, digest: str) -> OpenedSum:
    return OpenedSum(
        round=number,
        kind=kind,  # type: ignore[arg-type]
        session=session_of(kind, number),
        cohort=SITES,
        survivors=SITES,
        sum_sha256=digest,
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


COMPARISONS = Comparisons(
    rows=(
        Comparison(
            name="This federation",
            what="four sites, LoRA, secure aggregation",
            epsilon=3.0,
            seeds=(7, 8, 9),
            roc_auc=(0.801, 0.782, 0.813),
            accuracy=(0.72, 0.71, 0.74),
            worst_site_auc=(0.66, 0.61, 0.7),
            released=True,
        ),
        Comparison(
            name="Federation without DP",
            what="the same, no clipping and no noise",
            seeds=(7, 8, 9),
            roc_auc=(0.861, 0.858, 0.866),
            accuracy=(0.79, 0.78, 0.79),
        ),
        Comparison(
            name="Logistic regression on the raw columns, pooled",
            what="no text, no adapter",
            seeds=(7,),
            roc_auc=(0.872,),
            accuracy=(0.8,),
        ),
    ),
    notes=("Invented for tests: at epsilon 1 the AUC falls to that of guessing.",),
)


@pytest.fixture(scope="session")
def stage() -> Stage:
    draft = document.load(DRAFT)
    identities = {site: Identity.generate() for site in SITES}
    roster = tuple(
        Member(site=site, public_key=identities[site].public_key, declared_records=declared)
        for site, declared in zip(SITES, (200, 172, 30, 86), strict=True)
    )
    coordinator = Identity.generate()
    charter = document.enrol(draft, coordinator_key=coordinator.public_key, roster=roster)
    return Stage(charter=charter, identities=identities, coordinator=coordinator)


def adapter_config(charter: Charter) -> dict[str, object]:
    """What training writes with peft 0.21.2 for a classification with this charter."""
    off = (
        "alora_invocation_tokens arrow_config auto_mapping corda_config eva_config exclude_modules "
        "kasa_config layer_replication lora_ga_config megatron_config monteclora_config revision "
        "target_parameters trainable_token_indices use_bdlora velora_config"
    )
    return dict.fromkeys(off.split()) | {
        "alpha_pattern": {},
        "base_model_name_or_path": charter.model.name,
        "bias": "none",
        "ensure_weight_tying": False,
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": "layer",
        "layers_to_transform": list(charter.adapter.layers),
        "loftq_config": {},
        "lora_alpha": int(charter.adapter.alpha),
        "lora_bias": False,
        "lora_dropout": 0.0,
        "megatron_core": "megatron.core",
        "modules_to_save": ["classifier"],
        "peft_type": "LORA",
        "peft_version": "0.21.2",
        "qalora_group_size": 16,
        "r": charter.adapter.rank,
        "rank_pattern": {},
        "target_modules": sorted(charter.adapter.targets),
        "task_type": "SEQ_CLS",
        "use_dora": False,
        "use_qalora": False,
        "use_rslora": False,
    }


def config_text(config: dict[str, object]) -> str:
    """A configuration in the form in which training writes it."""
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def lay_out(folder: Path, stage: Stage, found: Evidence, *, compared: bool = False) -> Path:
    """Make a run directory from a stage and its evidence."""
    run = folder / found.run_id
    shutil.rmtree(run, ignore_errors=True)
    held = run / "withheld" / "adapter"
    held.mkdir(parents=True)
    (held / "adapter_model.safetensors").write_bytes(adapter_bytes(stage.charter))
    (held / "adapter_config.json").write_text(config_text(adapter_config(stage.charter)))
    (run / "metrics.jsonl").write_text('{"round": 1}\n')
    durable.write(run / "charter.json", document.encode(stage.charter))
    evidence.write(found, run / "evidence.json")
    if compared:
        comparisons.write(COMPARISONS, run / "comparisons.json")
    return run


@pytest.fixture
def lay(tmp_path: Path) -> Callable[..., Path]:
    return partial(lay_out, tmp_path)


@pytest.fixture(scope="session")
def heart(stage: Stage) -> Evidence:
    """Evidence at the size of the real data: 262 held-out records, noise on."""
    return stage.evidence()


@pytest.fixture(scope="session")
def published(stage: Stage, heart: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = lay_out(tmp_path_factory.mktemp("published"), stage, heart, compared=True)
    publish(run, stage.coordinator)
    return run


@pytest.fixture
def release(published: Path, tmp_path: Path) -> Path:
    """A whole release of its own for each test to spoil."""
    return Path(shutil.copytree(published, tmp_path / published.name))
