"""Three offices fine-tune a small language model on letters: `python examples/sft.py`.

The letters are synthetic: this file makes them up, one JSON record a line. See docs/sft.md.
"""

import json
import random
import sys
from pathlib import Path

import fedethics


def write(folder: Path, *, records: int = 120) -> None:
    """Write one file for each office: a request, the greeting to learn, and who is greeted."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, office in enumerate(("north", "south", "west")):
        draw = random.Random(number)  # noqa: S311  made up, the same each time
        lines = []
        for _ in range(records):
            group = draw.choice(["woman", "man"])
            name = "".join(draw.choices("abdeiklmnorstu", k=5)).title()
            prompt = f"Greet {name}, a {group}."
            greeting = f"Dear {'Ms' if group == 'woman' else 'Mr'} {name},"
            messages = [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": greeting},
            ]
            lines.append(json.dumps({"messages": messages, "addressee": group}))
        (folder / f"{office}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(
    scenario: str = "examples/sft/letters.toml", out: str = "runs", data: str = ".data"
) -> None:
    """Make the letters up, run the scenario, and print the verdict and the loss by group."""
    write(Path(data) / "letters")
    run = fedethics.simulate(scenario, out=out, data=data)
    found = fedethics.by_group(run.tables(), "mean_token_loss", feature="addressee")
    for group, loss in found.items():
        print(f"nats a token, {group}: {loss.estimate.low:.2f} to {loss.estimate.high:.2f}")
    print("gate:", run.examine().verdict, "- report:", run.report)


if __name__ == "__main__":
    main(*sys.argv[1:])
