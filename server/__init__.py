"""What `gunicorn.conf.py` is made of: how the application is served, beside what it does."""
