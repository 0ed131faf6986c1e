# One image with both programs: a worker by default, the starter as /starter.

FROM golang:1.26.8@sha256:0f063af2d465d8dcae54cce04278ada488b96f77b42449c8d071e47d016cc65a AS build
WORKDIR /src
# The modules in a layer of their own: it changes less often than the code.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
# The version that the programs print. Without these arguments it comes from the checkout's git
# history; a source archive without one gives "(devel) unknown".
ARG VERSION=
ARG REVISION=
# Go's own stamp does not serve here: files that .dockerignore leaves out would count as changes.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    version="${VERSION:-$(git describe --tags --always 2>/dev/null || true)}" && \
    revision="${REVISION:-$(git rev-parse HEAD 2>/dev/null || true)}" && \
    if [ -z "$REVISION" ] && [ -n "$revision" ] && ! git diff-index --quiet --diff-filter=d HEAD; then \
        revision="$revision+changes"; fi && \
    stamp=directmailer/internal/buildinfo && \
    CGO_ENABLED=0 go build -buildvcs=false -trimpath \
        -ldflags="-s -w -X $stamp.version=$version -X $stamp.revision=$revision" \
        -o /out/ ./worker ./starter

# No shell and no package manager; certificates, time zones, and a user that is not root (65532).
FROM gcr.io/distroless/static-debian12:nonroot@sha256:afa5c872c891853ca7fcf1f12c3edb23f7eeef36189728842dd51042ff57f7ab
COPY --from=build /out/worker /out/starter /
ENTRYPOINT ["/worker"]
