# milr for a machine with a GPU of NVIDIA's: torch's Linux wheels bring CUDA, the host its driver and container toolkit.
#
#   docker build -t milr .
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD":/work milr train-protonet experiment=demo
#
# Runs, data and the cache lie in /work, which is the folder that is mounted. More than one worker of a DataLoader needs
# more shared memory than Docker gives: --shm-size=8g.
FROM python:3.12-slim

WORKDIR /opt/milr
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY src src
RUN pip install --no-cache-dir ".[all]" && milr --help > /dev/null

WORKDIR /work
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
ENTRYPOINT ["milr"]
