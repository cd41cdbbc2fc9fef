# One image for every role. CPU by default; with a GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    NIGHTSHIFT_HOME=/var/lib/nightshift

# One user for all roles; the store is a volume that the workers share.
RUN useradd --system --create-home --uid 10001 nightshift \
    && install -d -o nightshift -g nightshift -m 0700 /var/lib/nightshift

WORKDIR /srv/nightshift
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY api ./api
COPY worker ./worker
COPY pipeline ./pipeline
COPY records ./records
COPY migrations ./migrations
COPY models ./models
COPY analyses ./analyses
RUN pip install --extra-index-url "$TORCH_INDEX" -c constraints.txt ".[worker]"

USER nightshift
ENTRYPOINT ["nightshift"]
CMD ["--help"]
