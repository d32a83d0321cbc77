# The serving image: Debian's Python, the service and ONNX Runtime for CPUs. No PyTorch, no compiler,
# no pip; it runs as user 10001 and writes nothing, so the root file system may be read-only.
#
#   docker build -t psad .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --cap-drop ALL \
#       --security-opt no-new-privileges -v "$PWD/bundles:/bundles:ro" psad
#
# It serves /bundles/psad. Every setting is a RERANK_* variable (`psad serve --help`); one process
# scores on one thread, and more of them are more containers.
#
# What it installs is pinned with hashes in deploy/image/ (`make lock` renews that). For the same base
# every time, give its digest: --build-arg BASE=docker.io/library/debian:bookworm-slim@sha256:…
# Behind a package index or a certificate of your own, neither of which ends up in the image:
#
#   docker build --secret id=pip,src=pip.conf --secret id=ca,src=ca-certificates.crt -t psad .
#
# `make image-check` builds and runs it; deploy/check/ says how.

ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-pip \
    && python3 -m venv --without-pip /opt/build \
    && python3 -m venv --without-pip /opt/psad
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY deploy/image/ deploy/image/
# The dependencies alone first: they change seldom, and this layer is kept until they do.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    for name in build:build psad:requirements; do \
        python3 -m pip --python "/opt/${name%:*}/bin/python" install \
            --require-hashes --only-binary :all: --requirement "deploy/image/${name#*:}.txt" \
        || exit 1; \
    done
COPY . .
RUN python3 -m pip --python /opt/build/bin/python wheel \
        --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python3 -m pip --python /opt/psad/bin/python install --no-index --no-deps /wheels/*.whl

FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/* \
    && groupadd --gid 10001 psad \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin psad \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/psad /opt/psad
ENV PATH=/opt/psad/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MALLOC_ARENA_MAX=2 ORT_DISABLE_TELEMETRY=1 \
    RERANK_BUNDLE=/bundles/psad RERANK_HOST=0.0.0.0 RERANK_PORT=8000
USER 10001:10001
WORKDIR /
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-Ic", "import http.client, os; probe = http.client.HTTPConnection('127.0.0.1', int(os.environ['RERANK_PORT']), timeout=2); probe.request('GET', '/readyz'); raise SystemExit(probe.getresponse().status != 200)"]
ENTRYPOINT ["psad", "serve"]
# Last, so that a new label rebuilds nothing.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="psad" \
      org.opencontainers.image.description="Puts a list of candidates in a better order, within a deadline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
