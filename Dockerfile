# The serving image: the base install with the CPU runtime, and no training stack.
#
#   docker build -t psad .
#   docker run --rm -p 8000:8000 -v "$PWD/bundles:/bundles:ro" psad
#
# Settings are RERANK_* environment variables; `psad serve --help` lists them.

FROM python:3.12-slim-bookworm AS build
RUN python -m venv /opt/psad
WORKDIR /source
COPY . .
RUN /opt/psad/bin/pip install --no-cache-dir --disable-pip-version-check '.[cpu]'

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home psad
COPY --from=build /opt/psad /opt/psad
ENV PATH=/opt/psad/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["psad", "serve"]
CMD ["/bundles/psad", "--host", "0.0.0.0", "--port", "8000"]
