# syntax=docker/dockerfile:1
# salesgauge in a container: the packages of requirements.lock, checked by hash, and the project's wheel. Nothing else.
#
#   docker build -t salesgauge .
#   docker run --rm salesgauge demo --for 30

ARG PYTHON=3.11.14

# The full image has a compiler: faust-streaming has no wheel for Linux on arm64 and is built from its source there.
FROM python:${PYTHON}-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# The virtual environment is made where it will stand, since its scripts name their interpreter by path.
RUN python -m venv /opt/salesgauge
ENV PATH=/opt/salesgauge/bin:$PATH

# The packages change seldom: their layer stays in the cache while the code changes.
COPY requirements.lock ./
RUN pip install --require-hashes --no-deps --prefer-binary -r requirements.lock

COPY pyproject.toml README.md LICENSE docker-compose.yml ./
COPY salesgauge ./salesgauge
COPY schemas ./schemas
COPY metrics ./metrics
COPY streams ./streams
COPY grafana ./grafana
COPY prometheus ./prometheus
COPY sources ./sources
# Git is not here to tell the version: --build-arg VERSION=$(git describe --tags) does.
ARG VERSION=
ENV SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SALESGAUGE=${VERSION}
# The build backend comes from the lock too. It leaves again, with pip, before the environment is copied.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip install --no-deps --no-index dist/salesgauge-*.whl \
 && pip check \
 && pip uninstall --yes hatch-vcs hatchling pathspec pluggy setuptools-scm trove-classifiers vcs-versioning \
 && pip uninstall --yes pip setuptools \
 && salesgauge --help >/dev/null


FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="salesgauge" \
      org.opencontainers.image.description="CRM events in Kafka become live sales KPIs in Prometheus and Grafana" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN groupadd --system --gid 10001 salesgauge \
 && useradd --system --uid 10001 --gid salesgauge --home-dir /var/lib/salesgauge --create-home \
      --shell /usr/sbin/nologin salesgauge

COPY --from=build /opt/salesgauge /opt/salesgauge
ENV PATH=/opt/salesgauge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# All state is in Kafka and in memory: nothing is kept here, and no volume is needed.
WORKDIR /var/lib/salesgauge
USER 10001:10001

# Faust and the exporter take SIGTERM as "finish the batch, commit, leave the group".
STOPSIGNAL SIGTERM
ENTRYPOINT ["salesgauge"]
CMD ["--help"]
