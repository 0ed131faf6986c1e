// Package temporalclient connects to Temporal. Address, namespace and credentials come from
// TEMPORAL_* and the profiles of the SDK's envconfig. The package also registers the mailings'
// search attributes.
package temporalclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

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
	options, err := loadOptions()
	if err != nil {
		return nil, &SettingsError{err}
	}
	options.Logger = log
	// Most calls have less than a kilobyte. To compress one costs more than all the rest of the call.
	options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, TolerateSilence(log))
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, options)
	if err != nil {
		err = reason(ctx, options.HostPort, options.ConnectionOptions.TLS, err)
		return nil, fmt.Errorf("reach Temporal at %s: %w", options.HostPort, err)
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
