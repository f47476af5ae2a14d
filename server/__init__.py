"""Parts of `gunicorn.conf.py`: how gunicorn serves the application."""
