# Builds on any image of Debian with Python >= 3.11: --build-arg BASE=...
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
# pip is in a separate environment: the copied one contains only the gateway.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/gateway
WORKDIR /src
COPY . .
RUN /opt/pip/bin/python -m pip --python /opt/gateway/bin/python install --no-cache-dir --disable-pip-version-check \
    --no-compile -c constraints.txt '.[rsa]' \
    && /opt/gateway/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/gateway/lib


FROM ${BASE}
LABEL org.opencontainers.image.title="metric-gateway" \
      org.opencontainers.image.description="Takes metric reports in one cloud vendor's words and delivers them in another's" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway \
    && mkdir -p /etc/gateway/routes.d \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/gateway
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_LISTEN=0.0.0.0:8080 \
    GATEWAY_ADMIN=0.0.0.0:9091 \
    GATEWAY_ROUTES=/etc/gateway/routes.d
# Routes are mounted at /etc/gateway/routes.d; without any it starts, is healthy and answers no report.
# Queued routes keep their data points in a volume. GATEWAY_DATA is not set here: without a mounted
# volume, acknowledged data points would be lost with the container, and direct routes need no folder.
VOLUME /var/lib/gateway
EXPOSE 8080 9091
USER 10001:10001
WORKDIR /etc/gateway
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["/opt/gateway/bin/python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['GATEWAY_ADMIN'].rpartition(':')[2]), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["/opt/gateway/bin/gateway"]
CMD ["serve"]
