# The same Caffe in a container: Debian 11 with its own package of BVLC Caffe 1.0 (CPU), and a
# newer Python for this project's code.
#
#   docker build -t fine-art-caffe .
#   docker run -it -v "$PWD/experiments/runs:/fine-art-caffe/experiments/runs" fine-art-caffe make demo
#
# Once the suite has left Debian's mirrors, name an archive of it:
#   docker build --build-arg DEBIAN_MIRROR=http://... -t fine-art-caffe .

# Debian 11's own Python is 3.9, this project needs 3.11: it comes from the official image for the
# same Debian, so that its shared libraries fit.
FROM python:3.11-slim-bullseye AS python

FROM debian:bullseye
ARG DEBIAN_MIRROR=
# An archive's lists have expired, their signature is checked all the same. OpenBLAS is named, as
# the reference BLAS that would come instead is 15 times slower.
RUN set -e; \
    if [ -n "$DEBIAN_MIRROR" ]; then \
        rm -f /etc/apt/sources.list.d/*; \
        echo "deb [check-valid-until=no] $DEBIAN_MIRROR bullseye main" > /etc/apt/sources.list; \
    fi; \
    apt-get update; \
    apt-get install -y --no-install-recommends \
        caffe python3-caffe libopenblas0-pthread \
        ca-certificates git make \
        libbz2-1.0 libexpat1 libffi7 libgdbm6 liblzma5 libncursesw6 libreadline8 libsqlite3-0 \
        libssl1.1 libuuid1 zlib1g; \
    rm -rf /var/lib/apt/lists/*

COPY --from=python /usr/local /usr/local
RUN ldconfig && python3.11 -c "import bz2, ctypes, lzma, sqlite3, ssl, zlib"

# The engine is the system's Python. The build fails here if it computes with another BLAS.
ENV CAFFE_PYTHON=/usr/bin/python3
RUN /usr/bin/python3 -c "import caffe; assert 'openblas' in open('/proc/self/maps').read()"

WORKDIR /fine-art-caffe
COPY . .
RUN make venv
CMD ["make"]
