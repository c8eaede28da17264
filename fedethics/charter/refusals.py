"""Settings that people bring from other libraries and that are refused here by name, with the why.

A key that a charter does not know is an error anyway. Those that would weaken the promise, or were
measured to give wrong gradients without any error, say more than "unknown key".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_METHOD = {
    "dora": "DoRA rescales whole rows of the base weights, so no gradient for each record exists",
    "ia3": "IA3 trains bare scaling vectors, which have no gradient for each record",
    "vera": "VeRA trains bare vectors over shared matrices, which have no gradient for each record",
    "prompt-tuning": "prompt tuning trains what is read without the records, so there is no "
    "gradient for each record",
}
_QUANTISED = (
    "quantised weights are a term of the model here, so that every site computes the same: "
    'model.quantisation = "int8". Other schemes are not built'
)
_GHOST = (
    "ghost clipping was measured to be 1.5 to 1.8 times slower for LoRA, and silently unclipped "
    "when a loss is computed inside the model"
)
_MODES = {"ghost": _GHOST, "ghost-fsdp": _GHOST, "ew": "expanded weights fail on these models"}
_SECURE = (
    "secure_mode of Opacus needs a package that is dead (torchcsprng); noise here comes from the "
    "operating system's generator through AES always"
)
_GDP = "Opacus's GDP accountant reports less than the true epsilon; PLD is the accountant here"

# Key -> what it must not be -> why. "*" is any value but false.
_REFUSED: Mapping[str, Mapping[str, str]] = {
    "method": _METHOD,
    "peft-type": _METHOD,
    "use-dora": {"*": _METHOD["dora"]},
    "load-in-4bit": {"*": _QUANTISED},
    "load-in-8bit": {"*": _QUANTISED},
    "quantization": {"*": _QUANTISED},
    "grad-sample-mode": _MODES,
    "clipping": _MODES,
    "secure-mode": {"*": _SECURE},
    "accountant": {"gdp": _GDP},
    "gradient-checkpointing": {
        "*": "it is each site's own choice (compute.checkpointing in its policy) and changes no "
        "result; the reentrant form fails outright"
    },
    "rand-on-empty": {
        "*": "a random record in place of an empty sample is no Poisson sampling, and no "
        "accountant covers it"
    },
}


def refusals(table: object, path: str = "") -> Iterator[str]:
    """Yield a sentence for each refused setting anywhere in a parsed table."""
    if not isinstance(table, dict):
        return
    for key, value in table.items():
        where = f"{path}.{key}" if path else str(key)
        yield from refusals(value, where)
        rules = _REFUSED.get(_plain(key), {})
        why = rules.get(_plain(value)) or (rules.get("*") if value is not False else None)
        if why:
            yield f"{where}: refused by name: {why}"


def _plain(word: object) -> str:
    return str(word).lower().replace("_", "-")
