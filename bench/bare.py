"""The limit: what Flask and gunicorn cost by themselves."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def show() -> dict[str, bool]:
    return {"ok": True}
