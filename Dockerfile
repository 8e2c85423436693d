# The two images of Sagebrush, from one file; classic `docker build` and `buildah bud` both build it:
#
#   docker build --target operator     -t sagebrush/operator:0.1.0 .
#   docker build --target model-server -t sagebrush/model-server:0.1.0 .
#
# Every stage starts from the same base, so that the virtual environments run where they are copied to.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm


# uv and the lock file: all that the dependencies depend on.
FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/uv \
 && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
ENV PATH=/opt/uv/bin:$PATH \
    UV_PROJECT_ENVIRONMENT=/opt/sagebrush \
    UV_PYTHON=python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=true \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY operator/pyproject.toml operator/
COPY model_server/pyproject.toml model_server/


# What runs: no uv, no source tree. Nothing writes bytecode at run time (the root file system may be read-only), so the
# standard library, which the official image ships uncompiled, is compiled here: processes start sooner.
FROM ${BASE_IMAGE} AS runtime
RUN python3 -m compileall -q \
        -x '/(site-packages|dist-packages|test|tests|idlelib|lib2to3|turtledemo)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/opt/sagebrush/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1


# Dependencies first, source after them: a changed line of source leaves the large layer cached.
FROM build AS build-operator
RUN uv sync --frozen --no-dev --no-install-workspace --package sagebrush
COPY operator/sagebrush operator/sagebrush
RUN uv sync --frozen --no-dev --no-editable --package sagebrush

FROM runtime AS operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["sagebrush"]
CMD ["run"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sagebrush-operator" \
      org.opencontainers.image.description="The Sagebrush operator: reconciles TrainingJob and ModelEndpoint" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build-operator /opt/sagebrush /opt/sagebrush


# The compiler, and Python's headers where the base's Python has none, stay in this stage.
FROM build AS build-model-server
RUN python3 -c 'import sysconfig; open(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || headers=python3-dev; \
    apt-get -q update && apt-get -q install -y --no-install-recommends g++ $headers
RUN uv sync --frozen --no-dev --no-install-workspace --package sagebrush-server
COPY model_server/setup.py model_server/
COPY model_server/sagebrush_server model_server/sagebrush_server
RUN uv sync --frozen --no-dev --no-editable --package sagebrush-server

# No ENTRYPOINT and no USER: SageMaker starts `train` and `serve` as arguments, and as root, because it owns what lies
# in /opt/ml. In the cluster the operator runs this image as user 65532 with a read-only root file system.
FROM runtime AS model-server
RUN mkdir -p /opt/ml && chmod 0777 /opt/ml
EXPOSE 8080 9102
CMD ["serve"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      org.opencontainers.image.title="sagebrush-model-server" \
      org.opencontainers.image.description="What runs inside Sagebrush's pods: serve, train, fetch and upload" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build-model-server /opt/sagebrush /opt/sagebrush
# LightGBM's wheel expects OpenMP of the system, which this base lacks. scikit-learn's does: the loader takes one file for
# one library, so that all of them share one OpenMP.
RUN ln -s /opt/sagebrush/lib/python3*/site-packages/scikit_learn.libs/libgomp-*.so* /usr/lib/libgomp.so.1 \
 && python3 -c 'import lightgbm, xgboost, sklearn.ensemble, sagebrush_server.cells, sagebrush_server.codecs.number_rows, sagebrush_server.http.quick'
