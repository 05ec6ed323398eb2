# An image with cephray and all that it needs, for every node of a Ray cluster.
#   docker build -t cephray .                               without GPU
#   docker build -t cephray:gpu --build-arg DEVICE=gpu .    for NVIDIA GPUs, driver 580 or later
ARG DEVICE=cpu

FROM ubuntu:24.04 AS compiler-cpu
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS compiler-gpu

# The wheel. Only it goes into the image.
FROM compiler-${DEVICE} AS build
ARG DEVICE
RUN apt-get update && apt-get install -y --no-install-recommends g++ make python3-dev python3-venv
COPY . /src
WORKDIR /src
RUN python3 -m venv /build && /build/bin/pip install 'pip>=25.1' && /build/bin/pip install --group build
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel \
    -C cmake.define.CEPHRAY_CUDA=$(test ${DEVICE} = gpu && echo on || echo off) .

FROM ubuntu:24.04
ARG DEVICE
# OpenCV needs the libraries, and KubeRay asks by wget whether a node lives.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv libgl1 libglib2.0-0 wget \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheel /wheel
RUN python3 -m venv /opt/cephray \
    && /opt/cephray/bin/pip install --no-cache-dir $(ls /wheel/*.whl)[pretrained] \
    $(test ${DEVICE} = gpu && echo 'tensorflow[and-cuda]~=2.21.0')
ENV PATH=/opt/cephray/bin:${PATH}
RUN cephray info
USER ubuntu
WORKDIR /home/ubuntu
