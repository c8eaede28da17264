"""The Flower ClientApp: a thin entry to the fedethics that each site installed.

`fedethics.flower.client_entry` answers every action; this bundle carries no privacy decision.
"""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedethics.flower.client_entry import answer

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on local records and answer with shares for the secure sum."""
    return answer(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Tabulate held-out records and answer with shares for the secure sum."""
    return answer(message, context)


@app.query("announce")
def announce(message: Message, context: Context) -> Message:
    """Check the permit and answer with signed keys for this run."""
    return answer(message, context)


@app.query("join")
def join(message: Message, context: Context) -> Message:
    """Check every member's keys and acknowledge them."""
    return answer(message, context)


@app.query("complete")
def complete(message: Message, context: Context) -> Message:
    """Take what the other members' acknowledgements hold for this site (suite 3)."""
    return answer(message, context)


@app.query("ready")
def ready(message: Message, context: Context) -> Message:
    """Say whether this site would still answer the rest of the run."""
    return answer(message, context)


@app.query("forward")
def forward(message: Message, context: Context) -> Message:
    """Check the shares received and answer with the masked vector."""
    return answer(message, context)


@app.query("survivors")
def survivors(message: Message, context: Context) -> Message:
    """Check and sign the survivor set."""
    return answer(message, context)


@app.query("proof")
def proof(message: Message, context: Context) -> Message:
    """Check that enough sites signed one survivor set, and reveal shares once."""
    return answer(message, context)


@app.query("result")
def result(message: Message, context: Context) -> Message:
    """Take the opened sum and delete the session's secrets."""
    return answer(message, context)


@app.query("slice")
def slice_(message: Message, context: Context) -> Message:
    """Check slices of the opened sum against what the sites signed."""
    return answer(message, context)


@app.query("receipt")
def receipt(message: Message, context: Context) -> Message:
    """Answer with a signed receipt of what this run spent here."""
    return answer(message, context)


@app.query("witness")
def witness(message: Message, context: Context) -> Message:
    """Keep every member's receipt and countersign the list of them."""
    return answer(message, context)
