"""The lower limit of the CPU time: a Flask application without any work."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def show() -> dict[str, bool]:
    return {"ok": True}
