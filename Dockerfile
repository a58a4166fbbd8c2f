# The image of code server, daemon, webserver and runs; which one a container is, its arguments say:
#
#   docker build -t dpp-feedback .        (or podman, or buildah)
#   docker run --rm dpp-feedback dpp-feedback --help
#
# The root file system may be read-only; /tmp must be writable, and a folder with dagster.yaml lies at
# /opt/dagster/home. k8s/ does both.

# Tag and digest, of all architectures. Another base needs Python 3.11 as python3 and a
# glibc of 2.36 or newer: requirements/image.txt has the hashes of wheels for these.
ARG BASE=python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE} AS builder
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
# The dependencies first, and alone: a change of the code does not install them again. Wheels only,
# so that no package runs code of its own here, nor asks for a compiler; and only those whose hashes
# are in the repository, whatever the package index hands out. The files are whole, `pip check` looks.
COPY requirements ./requirements
RUN python3 -m venv /opt/venv \
    && pip install --no-compile --no-deps --only-binary :all: --require-hashes -r requirements/image.txt \
    && python3 -m venv builder \
    && builder/bin/pip install --no-deps --only-binary :all: --require-hashes -r requirements/build.txt
COPY LICENSE README.md pyproject.toml ./
COPY docs ./docs
COPY migrations ./migrations
COPY dpp_feedback ./dpp_feedback
RUN builder/bin/pip wheel --no-index --no-build-isolation --no-deps --wheel-dir dist . \
    && pip install --no-compile --no-index --no-deps dist/*.whl && pip check
# What runs nowhere, a third of it all: tests, C sources, source maps of the pages, debugging symbols,
# and a second Kubernetes client, for asyncio. Then bytecode for the rest, since a container cannot
# keep its own; unchecked, so that a builder may set the times of the files.
WORKDIR /opt/venv/lib
RUN find . -depth \( -type d -name tests -o -name '*.[ch]' -o -name '*.pyx' -o -name '*.map' \
        -o -path '*/site-packages/kubernetes/aio' \) -exec rm -r {} + \
    && find . -name '*.so' -not -path '*.libs/*' -exec strip --strip-debug {} + \
    && pip uninstall --yes setuptools pip \
    && python3 -m compileall -q -f -j 0 --invalidation-mode unchecked-hash .

FROM ${BASE}
# The official image comes without the bytecode of Python's own library.
RUN python3 -m compileall -q -j 0 -x '/((site|dist)-packages|ensurepip|idlelib|lib2to3|tests?)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin dagster \
    && mkdir -p /opt/dagster/home
COPY --from=builder /opt/venv /opt/venv
ENV DAGSTER_HOME=/opt/dagster/home \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/dagster
USER 10001:10001
EXPOSE 4000
# The code server. No HEALTHCHECK: it would ask daemon, webserver and runs for what only this one
# answers. Kubernetes has its probes; by hand, `dagster api grpc-health-check -p 4000`.
CMD ["dagster", "api", "grpc", "-m", "dpp_feedback.definitions", "-h", "0.0.0.0", "-p", "4000"]

# Last, since they change with each build.
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="dpp-feedback" \
      org.opencontainers.image.description="Amazon SES bounces, complaints and deliveries, from SQS to Postgres, with Dagster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
