# rs2sam2 serve in a container. For a GPU:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 -t rs2sam2 .
FROM python:3.11-slim
# CUDA's wheels bring their runtime along: the same base does for both.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 HF_HOME=/models
RUN pip install --index-url $TORCH_INDEX torch torchvision && pip install setuptools wheel
RUN SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2==1.1.0
COPY . /src
RUN pip install '/src[serve]' && rm -rf /src \
    && useradd --create-home rs2sam2 && mkdir /jobs /models /scenes && chown rs2sam2 /jobs /models
USER rs2sam2
VOLUME ["/jobs", "/models"]
EXPOSE 8000
# It listens beyond its container, so it asks for a token: docker run -e RS2SAM2_TOKEN=...
ENTRYPOINT ["rs2sam2", "serve", "--host", "0.0.0.0", "--jobs", "/jobs", "--root", "/scenes"]
CMD ["--model", "demo"]
