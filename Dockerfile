# syntax=docker/dockerfile:1
# The operator's image: Python, the locked dependencies and our package; no compiler, no pip, no build tools.
# Runs with any uid, a read-only root and no capabilities: nothing is written but logs.

ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ARG UV_VERSION=0.13.9
ENV UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/app \
    UV_LINK_MODE=copy
RUN pip install --no-cache-dir uv==${UV_VERSION}
WORKDIR /src
# The dependencies are a layer of their own, rebuilt only when the lock changes.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-default-groups --no-install-project --compile-bytecode
COPY operator operator
RUN uv sync --frozen --no-default-groups --no-editable --compile-bytecode

FROM python:${PYTHON_VERSION}-slim
# kopf asks who it is: a uid without passwd entry would end it at start. USER answers where a platform picks the uid.
RUN useradd --uid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin leasehold \
    && pip uninstall --yes pip \
    && rm -rf /usr/local/lib/python3*/ensurepip
ENV PATH=/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USER=leasehold
COPY --from=build /app /app
USER 65532:65532
EXPOSE 8080 8082
ENTRYPOINT ["leasehold"]
CMD ["run"]
