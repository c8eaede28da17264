"""How texts become token ids: from the hashed tokenizer file alone, cut at the end by us.

`AutoTokenizer` takes settings from files next to it and defaults from the library's version: two
sites with one tokenizer.json may read one text in two ways. Here tokenizer.json is read as it is;
what other files say is in the digest, and the ids of fixed probe texts are too, so that a library
that reads otherwise gives another basis.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer

from fedethics import canonical
from fedethics.errors import ModelError
from fedethics.training.chat import NO_CHAT, ChatSettings
from fedethics.training.loading import Quiet, one_line, read_json, source
from fedethics.training.locate import BaseModel

_FILE = "tokenizer.json"
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_TEMPLATE = "chat_template.jinja"
# What of the files beside it says nothing of how a text is read, or is set here for every site.
_BOOKKEEPING = frozenset({
    "name_or_path", "tokenizer_class", "processor_class", "backend", "is_local",
    "local_files_only", "special_tokens_map_file", "tokenizer_file", "vocab_file", "chat_template",
    "clean_up_tokenization_spaces", "padding_side", "truncation_side", "model_max_length",
    "max_length", "stride", "truncation_strategy", "pad_to_multiple_of", "pad_token_type_id",
})  # fmt: skip
_PROBE_LENGTHS = (8, 16)
_MARKS_PROBED = 256
# Each excites some setting: case, accents and their two forms, blanks, controls, digits, scripts,
# emoji, bytes that are rare, marks that may be special tokens, and texts that are cut.
_PROBES = (
    "", " ", "\n", "a", " a", "a ", "  lead and trail  ", "two  blanks\tand\r\nlines\n\n",
    "Chest PAIN, typical angina", "É é E\u0301 e\u0301 Ä ß ẞ İ ı ﬁ Å \u212b", "naïve façade Ω ω ς",
    "0 1 12 123 1234 12345 3.14 1,000 -5 ½ ² １２３ 1e-5", "\x00\x01\x07\x1b[31m\x7f\u0085\ufffd",
    "a\u00adb\u200bc\u200dd\u2060e\ufefff\u202eg\u00a0h\u3000i",
    "漢字かな交じり文 한국어 中文，标点。",
    "العربية עברית हिन्दी ไทย Русский Ελληνικά", "😀 👩\u200d👩\u200d👧 🏳️\u200d🌈 👍🏽",
    "don't can't I'm it's we'll o'clock \u2018q\u2019 \u201cQ\u201d -- \u2013 \u2014 ...",
    "snake_case camelCase kebab-case a/b\\c a@b.cc https://x.yz?q=1&r=2#s", "{}[]()<>|~^`$%&*+=",
    "[CLS] [SEP] [PAD] [MASK] [UNK] <s> </s> <unk> <pad> <mask> <bos> <eos>",
    "<|im_start|>user\nx<|im_end|> <|endoftext|> <|begin_of_text|> [INST] x [/INST] <0x0A> ▁ Ġ Ċ",
    "xqzjkwv" * 20, "word " * 700, " ".join("ab" * n for n in (8, 12, 20, 35, 51, 65, 102, 150)),
    ". " * 40, "\U0010ffff\ue000",
)  # fmt: skip


class TextReader:
    """A tokenizer that cuts at the end, never pads, and gives ids of the model's embedding only.

    Attributes:
        pad_token_id: what fills a batch, where every token is masked; and an empty text.
        chat: what the tokenizer's files say of conversations.
    """

    def __init__(
        self,
        raw: Tokenizer,
        *,
        pad_token_id: int,
        embeddings: int,
        where: str,
        chat: ChatSettings = NO_CHAT,
    ) -> None:
        """Take over `raw`.

        Args:
            raw: the tokenizer; whatever it says of cutting and padding is switched off.
            pad_token_id: of the model's configuration.
            embeddings: rows of the model's embedding.
            where: the model's folder, for messages.
            chat: from the files next to it.

        Raises:
            ModelError: it has ids that the model has no embedding for, or reads at random.
        """
        if getattr(raw.model, "dropout", None):
            raise ModelError(
                f"{where}: the tokenizer leaves merges out at random (dropout), so the same text "
                "would be read differently each time; use the tokenizer without it"
            )
        raw.no_truncation()
        raw.no_padding()
        self.pad_token_id, self.chat = pad_token_id, chat
        self._literal = Tokenizer.from_str(raw.to_str())
        self._literal.encode_special_tokens = True
        decoder = raw.get_added_tokens_decoder()
        self._control = {number: mark.content for number, mark in decoder.items() if mark.special}
        self._raw, self._embeddings, self._where = raw, embeddings, where
        self._cut: dict[int, Tokenizer] = {}
        largest = max(raw.get_vocab(with_added_tokens=True).values(), default=0)
        if largest >= embeddings:
            raise ModelError(
                f"{where}: the tokenizer has token ids up to {largest}, but the model has "
                f"embeddings for 0 to {embeddings - 1}. They do not belong together"
            )

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int = 0,
    ) -> dict[str, Any]:
        """Return {"input_ids": ids} of one text, or a list of them for several.

        Args:
            texts: one text or several.
            add_special_tokens: whether the model's own marks are put around each.
            truncation: whether a text with more than `max_length` tokens is cut at its end.
            max_length: tokens, the model's marks included.

        Raises:
            ModelError: an id that the model has no embedding for.
        """
        reader = self._cut_at(max_length) if truncation else self._raw
        several = [texts] if isinstance(texts, str) else list(texts)
        encoded = reader.encode_batch(several, add_special_tokens=add_special_tokens)
        ids = [list(one.ids) for one in encoded]
        for one in ids:
            if one and not 0 <= min(one) <= max(one) < self._embeddings:
                raise ModelError(
                    f"{self._where}: the tokenizer gave the token id {max(one)}, but the model has "
                    f"embeddings for 0 to {self._embeddings - 1}. They do not belong together"
                )
        return {"input_ids": ids[0] if isinstance(texts, str) else ids}

    def plain(self, text: str) -> list[int]:
        """Return the ids of `text` read as text alone: nothing in it becomes a control token."""
        return list(self._literal.encode(text, add_special_tokens=False).ids)

    def marks(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of each control token that would be read inside `text`."""
        read = self._raw.encode(text, add_special_tokens=False)
        pairs = zip(read.ids, read.offsets, strict=True)
        found = [(number, place) for number, place in pairs if number in self._control]
        if not found:
            return []
        plain = self._literal.encode(text, add_special_tokens=False)
        # An unknown word gives a control token too, and is none: it does so in plain text.
        unknown = set(zip(plain.ids, plain.offsets, strict=True))
        return [
            (start, end)
            for number, (start, end) in found
            # Written otherwise too: some tokenizers look for them once letters are made small.
            if self._control[number] in text[start:end] or (number, (start, end)) not in unknown
        ]

    @property
    def controls(self) -> frozenset[int]:
        """The control tokens: what ends a turn is among them."""
        return frozenset(self._control)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, control tokens as they are written."""
        return str(self._raw.decode(list(ids), skip_special_tokens=False))

    def as_file(self) -> str:
        """Return the whole tokenizer as the text of a tokenizer.json; it neither cuts nor pads."""
        return str(self._raw.to_str())

    def behaviour(self) -> str:
        """Return the SHA-256 of the ids of fixed probe texts, with marks and without, and cut."""
        # Marks are found inside a text too, each by rules of its own.
        marks = sorted(self._raw.get_added_tokens_decoder().items())
        inside = [f"a{mark.content}b {mark.content}  c" for _, mark in marks[:_MARKS_PROBED]]
        probes = [*_PROBES, *inside]
        read: dict[str, canonical.Json] = {
            "pad": self.pad_token_id,
            "marks": [[number, mark.content, *_rules(mark)] for number, mark in marks],
            "marked": self(probes)["input_ids"],
            "plain": self(probes, add_special_tokens=False)["input_ids"],
        }
        for length in _PROBE_LENGTHS:
            cut = self(probes, truncation=True, max_length=length)
            read[f"cut at {length}"] = cut["input_ids"]
        return canonical.sha256_hex(canonical.encode(read))

    def _cut_at(self, length: int) -> Tokenizer:
        if length not in self._cut:
            reader = Tokenizer.from_str(self._raw.to_str())
            reader.enable_truncation(max_length=length, direction="right")
            self._cut[length] = reader
        return self._cut[length]


def load_tokenizer(base: BaseModel, model: Any) -> TextReader:  # noqa: ANN401
    """Return how texts are read for `model`; its digest is `tokenizer_digest`.

    Raises:
        ModelError: there is none that reads texts alike everywhere, or it is another model's.
    """
    embeddings = int(model.get_input_embeddings().num_embeddings)
    try:
        with Quiet():
            raw, chat = _raw(base), _chat(base)
    except ModelError:
        raise
    except Exception as error:
        # The tokenizers library raises plain Exception for a file that it cannot read.
        raise ModelError(f"{base.folder}: no tokenizer could be read: {one_line(error)}") from error
    return TextReader(
        raw,
        pad_token_id=_padding(model.config, embeddings),
        embeddings=embeddings,
        where=str(base.folder),
        chat=chat,
    )


def tokenizer_digest(base: BaseModel, reader: TextReader) -> str:
    """Return the SHA-256 of the files that say how texts are read, and of how they are read."""
    whole = b"in the weights" if base.gguf_file else (base.folder / _FILE).read_bytes()
    return canonical.sha256_hex(
        canonical.encode(
            {
                "file": hashlib.sha256(whole).hexdigest(),
                "beside": {} if base.gguf_file else _settings(base),
                "behaviour": reader.behaviour(),
            }
        )
    )


def _raw(base: BaseModel) -> Tokenizer:
    if base.gguf_file:
        return Tokenizer.from_str(_from_weights(base)[0])
    if not (base.folder / _FILE).is_file():
        raise ModelError(
            f"{base.folder} holds no {_FILE}; texts could be read differently at other sites"
        )
    return Tokenizer.from_file(str(base.folder / _FILE))


@lru_cache(maxsize=4)
def _from_weights(base: BaseModel) -> tuple[str, ChatSettings]:
    """Return what a .gguf file says of its tokenizer; the file was verified by its hash."""
    found = AutoTokenizer.from_pretrained(base.folder, **source(base))
    chat = ChatSettings(found.chat_template or "", dict(found.special_tokens_map))
    return str(found.backend_tokenizer.to_str()), chat


def _chat(base: BaseModel) -> ChatSettings:
    if base.gguf_file:
        return _from_weights(base)[1]
    said: dict[str, Any] = {}
    for name in _BESIDE[1::-1]:  # tokenizer_config.json goes first
        if (base.folder / name).is_file():
            said |= read_json(base.folder / name)
    alone = base.folder / _TEMPLATE
    template = alone.read_text(encoding="utf-8") if alone.is_file() else ""
    return ChatSettings.of(said, template=template)


def _settings(base: BaseModel) -> dict[str, canonical.Json]:
    """Return the digest of each file beside the tokenizer's, without what changes nothing."""
    found: dict[str, canonical.Json] = {}
    for name in _BESIDE:
        if (base.folder / name).is_file():
            said = read_json(base.folder / name)
            kept = {key: value for key, value in said.items() if _tells(key, value)}
            data = json.dumps(kept, sort_keys=True, ensure_ascii=True).encode()
            found[name] = hashlib.sha256(data).hexdigest() if kept else ""
    return {name: digest for name, digest in found.items() if digest}


def _rules(mark: AddedToken) -> list[canonical.Json]:
    return [mark.single_word, mark.lstrip, mark.rstrip, mark.normalized, mark.special]


def _tells(key: str, value: object) -> bool:
    return key not in _BOOKKEEPING and value is not None


def _padding(config: Any, embeddings: int) -> int:  # noqa: ANN401
    """Return the configuration's own padding; padding is masked, so else any token serves."""
    said: Mapping[str, Any] = config.to_dict()
    for name in ("pad_token_id", "eos_token_id"):
        value = said.get(name)
        if type(value) is int and 0 <= value < embeddings:
            return value
    return 0
