# syntax=docker/dockerfile:1
# One image with both programs: a worker by default, the starter as /starter.

FROM golang:1.26 AS build
WORKDIR /src
# The modules in a layer of their own: it changes less often than the code.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags="-s -w" -o /out/ ./worker ./starter

# No shell and no package manager; certificates, time zones, and a user that is not root (65532).
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/worker /out/starter /
ENTRYPOINT ["/worker"]
