package servertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// FillSearchAttributes registers search attributes of others with the namespace "default" of the
// server until it has no room for one more.
func FillSearchAttributes(t testing.TB, address string) {
	t.Helper()
	quiet := sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.Dial(client.Options{HostPort: address, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := range 100 {
		_, err := c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
			Namespace: "default", SearchAttributes: map[string]enumspb.IndexedValueType{
				fmt.Sprintf("Other%02d", n): enumspb.INDEXED_VALUE_TYPE_KEYWORD}})
		var full *serviceerror.InvalidArgument
		if errors.As(err, &full) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("there is room for a hundred search attributes")
}

// DenyingTemporal serves the Temporal at the address, except for the methods whose full names
// contain one of the parts: these are refused with the code, as a server with few permissions does.
// It returns the address of the proxy.
func DenyingTemporal(t testing.TB, address string, code codes.Code, parts ...string) string {
	t.Helper()
	return proxy(t, address, func(_ context.Context, method string) error {
		for _, part := range parts {
			if strings.Contains(method, part) {
				return status.Error(code, "Request unauthorized.")
			}
		}
		return nil
	})
}

// HoldingTemporal serves the Temporal at the address, except for the methods whose full names
// contain the part: these never reach it, and their callers wait. It returns the address of the
// proxy, and a channel that is closed when the first caller waits.
func HoldingTemporal(t testing.TB, address, part string) (proxyAddress string, held <-chan struct{}) {
	t.Helper()
	proxyAddress, held, _ = PausingTemporal(t, address, part)
	return proxyAddress, held
}

// PausingTemporal is [HoldingTemporal] until release is called. From then on all methods reach
// Temporal, also those whose callers wait.
func PausingTemporal(t testing.TB, address, part string) (proxyAddress string, held <-chan struct{}, release func()) {
	t.Helper()
	waits, released := make(chan struct{}), make(chan struct{})
	var once sync.Once
	return proxy(t, address, func(ctx context.Context, method string) error {
		if !strings.Contains(method, part) {
			return nil
		}
		once.Do(func() { close(waits) })
		select {
		case <-released:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}), waits, func() { close(released) }
}

// proxy serves the Temporal at the address. It first asks may about each call, and answers with
// its error. It returns the address of the proxy.
func proxy(t testing.TB, address string, may func(ctx context.Context, method string) error) string {
	t.Helper()
	return serveProxy(t, address, func(client grpc.ServerStream, server *grpc.ClientConn, method string) error {
		if err := may(client.Context(), method); err != nil {
			return err
		}
		return forward(client, server, method)
	})
}

// serveProxy serves the Temporal at the address: each call is answered by handle. It returns the
// address of the proxy.
func serveProxy(t testing.TB, address string,
	handle func(client grpc.ServerStream, server *grpc.ClientConn, method string) error) string {
	t.Helper()
	server, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := grpc.NewServer(grpc.ForceServerCodec(frames{}), grpc.MaxRecvMsgSize(64<<20),
		grpc.UnknownServiceHandler(func(_ any, client grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(client)
			return handle(client, server, method)
		}))
	go func() { _ = p.Serve(listener) }()
	t.Cleanup(func() {
		p.Stop()
		_ = server.Close()
	})
	return listener.Addr().String()
}

// forward passes one call on, and its answer back.
func forward(client grpc.ServerStream, server *grpc.ClientConn, method string) error {
	answer, err := call(client, server, method)
	if err != nil {
		return err
	}
	return client.SendMsg(&answer)
}

// call passes one call on. All calls of Temporal have one request and one answer.
func call(client grpc.ServerStream, server *grpc.ClientConn, method string) (answer []byte, err error) {
	var request []byte
	if err := client.RecvMsg(&request); err != nil {
		return nil, err
	}
	ctx := client.Context()
	if incoming, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, incoming)
	}
	err = server.Invoke(ctx, method, &request, &answer, grpc.ForceCodec(frames{}), grpc.MaxCallRecvMsgSize(64<<20))
	return answer, err
}

// frames passes messages on as they are.
type frames struct{}

var _ encoding.Codec = frames{}

func (frames) Name() string { return "proto" }

func (frames) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (frames) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte{}, data...)
	return nil
}
