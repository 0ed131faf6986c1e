// Package temporalclient connects to Temporal. Address, namespace and credentials come from
// TEMPORAL_* and the profiles of the SDK's envconfig. The package also registers the mailings'
// search attributes.
package temporalclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"directmailer/internal/neterr"
	"directmailer/workflows"
)

// SettingsError says that the settings for Temporal cannot be used.
type SettingsError struct{ err error }

func (e *SettingsError) Unwrap() error { return e.err }
func (e *SettingsError) Error() string {
	return "read the settings for Temporal (TEMPORAL_*): " + e.err.Error()
}

// Client is a connection to one namespace of Temporal.
type Client struct {
	client.Client
	Address   string
	Namespace string
}

// Dial connects, and checks that the server answers, within ctx or ten seconds. An error for which
// [Unreachable] is true may pass. It does not check that the namespace exists: see
// [Client.CheckNamespace].
func Dial(ctx context.Context, log *slog.Logger) (*Client, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, &SettingsError{err}
	}
	if options.HostPort == "" {
		options.HostPort = client.DefaultHostPort
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	options.Logger = log
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("reach Temporal at %s: %w", options.HostPort, reason(ctx, options.HostPort, err))
	}
	return &Client{Client: c, Address: options.HostPort, Namespace: options.Namespace}, nil
}

// CheckNamespace returns an error if the server has no namespace of that name. It returns nil if
// the server refuses to tell.
func (c *Client) CheckNamespace(ctx context.Context) error {
	_, err := c.WorkflowService().
		DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: c.Namespace})
	var unknown *serviceerror.NamespaceNotFound
	if errors.As(err, &unknown) || Unreachable(err) {
		return Explain(err)
	}
	return nil
}

// RegisterSearchAttributes registers the mailings' search attributes with the namespace. It leaves
// those that are there already.
func (c *Client) RegisterSearchAttributes(ctx context.Context) error {
	wanted := map[string]enumspb.IndexedValueType{
		workflows.StateAttribute.GetName(): workflows.StateAttribute.GetValueType(),
		workflows.ListAttribute.GetName():  workflows.ListAttribute.GetValueType(),
	}
	known, err := c.OperatorService().
		ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: c.Namespace})
	if err != nil {
		return fmt.Errorf("read Temporal's search attributes: %w", Explain(err))
	}
	for name, kind := range known.CustomAttributes {
		if want, ok := wanted[name]; ok && want == kind {
			delete(wanted, name)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	_, err = c.OperatorService().
		AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: c.Namespace,
			SearchAttributes: wanted})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) { // another worker was quicker
		return fmt.Errorf("register search attributes with Temporal: %w", Explain(err))
	}
	return nil
}

// Unreachable tells whether err means that Temporal does not answer at the moment.
func Unreachable(err error) bool {
	var unavailable *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &unavailable) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded) ||
		status.Code(err) == codes.Unavailable
}

// Explain returns err with a text for people, in place of that of gRPC.
func Explain(err error) error {
	var unknown *serviceerror.NamespaceNotFound
	switch {
	case errors.As(err, &unknown):
		return &explained{
			fmt.Sprintf(
				"Temporal has no namespace %q: set TEMPORAL_NAMESPACE, or create the namespace",
				unknown.Namespace,
			),
			err,
		}
	case Unreachable(err):
		return &explained{"Temporal does not answer", err}
	}
	return err
}

// explained is an error whose text is ours.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// reason says why no connection was made to the address. gRPC only has a text for that, which names
// its own parts. So reason connects once more by itself, to learn the cause.
func reason(ctx context.Context, address string, err error) error {
	if !Unreachable(err) {
		return Explain(err)
	}
	if _, cause, ok := strings.Cut(err.Error(), "handshake failed: "); ok {
		return &explained{"TLS failed: " + strings.TrimSuffix(strings.TrimPrefix(cause, "tls: "), `"`), err}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, dialErr := dialer.DialContext(ctx, "tcp", address)
	if dialErr != nil {
		return &explained{neterr.Reason(dialErr), err}
	}
	_ = conn.Close()
	return &explained{
		"a server is there, and does not answer as Temporal: check TEMPORAL_ADDRESS and TEMPORAL_TLS",
		err,
	}
}
