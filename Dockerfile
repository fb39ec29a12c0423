# subspace in a container, for `subspace submit --scheduler kubernetes` and by hand:
#     docker build --target cpu --tag subspace:cpu --build-arg TORCH_INDEX=<PyTorch's index of CPU wheels> .
#     docker build --target cuda --tag subspace:latest .
# Add --build-arg UID=$(id -u) where runs lie on a shared disk that only you may write to.

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/subspace/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1
# For train.compile, which builds what it has made of the network.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
ARG UID=1000
RUN useradd --create-home --uid "$UID" subspace && python -m venv /opt/subspace
WORKDIR /opt/subspace
COPY pyproject.toml constraints.txt ./
# What it depends on, before the code, which changes more often.
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    print(*project['dependencies'], sep='\n')" > requirements.txt

FROM base AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY mining mining
COPY pipeline pipeline
COPY train train
RUN pip wheel --no-deps --wheel-dir /wheels .

# All of it in the versions that the tests ran with; torch without CUDA where TORCH_INDEX has such wheels.
FROM base AS cpu
ARG TORCH_INDEX
RUN pip install --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    --requirement requirements.txt faiss-cpu
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl && pip check
ARG UID=1000
USER $UID
WORKDIR /home/subspace
ENTRYPOINT ["subspace"]
CMD ["--help"]

# The wheels of torch and faiss-gpu bring the CUDA libraries along; the driver is the machine's.
FROM base AS cuda
RUN pip install --constraint constraints.txt --requirement requirements.txt faiss-gpu==1.15.1
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl && pip check
ARG UID=1000
USER $UID
WORKDIR /home/subspace
ENTRYPOINT ["subspace"]
CMD ["--help"]
