FROM python:3.13-slim AS base

# The build backend is in the development lock, by hash like everything else.
FROM base AS wheel
WORKDIR /source
COPY config/requirements-dev.txt config/
RUN pip install --no-cache-dir --require-hashes --requirement config/requirements-dev.txt
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM base AS environment
COPY config/requirements.txt /
RUN python -m venv /opt/allocation \
    && /opt/allocation/bin/pip install --no-cache-dir --require-hashes --requirement /requirements.txt
COPY --from=wheel /wheel /wheel
RUN /opt/allocation/bin/pip install --no-cache-dir --no-deps /wheel/*.whl

FROM base
LABEL org.opencontainers.image.title="allocation-worker" \
      org.opencontainers.image.description="Allocates the shipments of created orders to carriers" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/allocation/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=environment /opt/allocation /opt/allocation
# Belongs to root and stays empty: no process writes a file where it runs.
WORKDIR /app
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
# Compose says what healthy means, for each process.
HEALTHCHECK NONE
ENTRYPOINT []
CMD ["allocation", "--help"]
