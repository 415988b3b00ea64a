# CPU image: docker build -t lwexp . && docker run --rm -v "$PWD/runs:/home/lwexp/runs" lwexp train experiment=smoke
# On GPUs, start from an image that has CUDA's torch, and install as in docs/reproduce.md.
FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends g++ git && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY lwexp lwexp
COPY hydra_plugins hydra_plugins
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt '.[zero,lora,search]'
RUN useradd --create-home lwexp
USER lwexp
WORKDIR /home/lwexp
ENTRYPOINT ["lwexp"]
