# The sidecar (target `sidecar`, the last one) and the demo's parts (target `demo`), on Node's slim image.
#
#   docker build -t mcp-valet .
#
# Where packages come through a registry or a proxy of your own, two secrets tell npm of it, and stay in no layer:
#   docker build --secret id=npmrc,src=$HOME/.npmrc --secret id=ca,src=/etc/ssl/certs/company.pem -t mcp-valet .

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm,sharing=locked \
    --mount=type=secret,id=npmrc,target=/root/.npmrc,required=false \
    --mount=type=secret,id=ca,target=/run/secrets/ca,required=false \
    npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build -- --declaration false --sourceMap false --incremental false && chmod 0755 dist/cli.js

FROM node:24-slim AS demo-packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm,sharing=locked \
    --mount=type=secret,id=npmrc,target=/root/.npmrc,required=false \
    --mount=type=secret,id=ca,target=/run/secrets/ca,required=false \
    npm ci --omit=dev --ignore-scripts
# LMDB brings a binary for each Node and C library; the one that stays is tried, as nothing else would miss it here.
RUN find node_modules/@lmdb node_modules/@msgpackr-extract -name '*.node' ! -name node.napi.glibc.node -delete \
 && node -e "require('lmdb').open({ path: '/tmp/probe' }).close()" && rm -r /tmp/probe

# `--omit=optional` would leave out LMDB's binary as well; so what the demo alone needs goes here.
FROM demo-packages AS sidecar-packages
RUN npm pkg delete optionalDependencies && npm prune --omit=dev --ignore-scripts --offline

FROM node:24-slim AS base
ENV NODE_ENV=production \
    MCP_VALET_CONFIG=/etc/mcp-valet/valet.yaml
WORKDIR /app
# A number, so that Kubernetes sees that it is not root; above those that hosts give to people. `./var/state`, where state is
# kept unless the config says otherwise, leads to the one folder that has to be writable.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/mcp-valet \
 && install -d /etc/mcp-valet \
 && ln -s /var/lib/mcp-valet var \
 && ln -s /app/dist/cli.js /usr/local/bin/mcp-valet
COPY LICENSE ./
COPY --from=build /app/dist dist
USER 10001:10001
EXPOSE 8401 8402
ENTRYPOINT ["mcp-valet"]

FROM base AS demo
USER root
# Where compose mounts volumes: an empty one takes over the owner of the folder that it covers.
RUN install -d -o 10001 -g 10001 -m 0755 /run/demo /run/demo/valet /run/demo/planner /run/demo/nightly /run/demo/scout /run/demo/redis
COPY --from=demo-packages /app/package.json ./
COPY --from=demo-packages /app/node_modules node_modules
USER 10001:10001
CMD ["demo"]

FROM base AS sidecar
LABEL org.opencontainers.image.title="mcp-valet" \
      org.opencontainers.image.description="Authenticating reverse-proxy sidecar for MCP" \
      org.opencontainers.image.licenses="MIT"
COPY --from=sidecar-packages /app/package.json ./
COPY --from=sidecar-packages /app/node_modules node_modules
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s --retries=3 CMD ["mcp-valet", "health"]
CMD ["serve"]
