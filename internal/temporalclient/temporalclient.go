// Package temporalclient connects to Temporal: address, namespace and credentials come from TEMPORAL_* and the profiles of the SDK's
// envconfig. It also makes the mailings' search attributes known there.
package temporalclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"directmailer/workflows"
)

// Cluster is a connection to one namespace of Temporal.
type Cluster struct {
	client.Client
	Address   string
	Namespace string
}

// Dial connects, and checks that the server answers, within ctx or ten seconds.
func Dial(ctx context.Context, log *slog.Logger) (*Cluster, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, fmt.Errorf("read the settings of Temporal (TEMPORAL_*): %w", err)
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
		return nil, fmt.Errorf("reach Temporal at %s: %w", options.HostPort, reason(err))
	}
	return &Cluster{Client: c, Address: options.HostPort, Namespace: options.Namespace}, nil
}

// RegisterSearchAttributes makes the mailings' search attributes known to the namespace; those that are known already stay.
func (c *Cluster) RegisterSearchAttributes(ctx context.Context) error {
	wanted := map[string]enumspb.IndexedValueType{
		workflows.StateAttribute.GetName(): workflows.StateAttribute.GetValueType(),
		workflows.ListAttribute.GetName():  workflows.ListAttribute.GetValueType(),
	}
	known, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: c.Namespace})
	if err != nil {
		return fmt.Errorf("read Temporal's search attributes: %w", reason(err))
	}
	for name, kind := range known.CustomAttributes {
		if want, ok := wanted[name]; ok && want == kind {
			delete(wanted, name)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: c.Namespace, SearchAttributes: wanted})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) { // another worker was quicker
		return fmt.Errorf("register search attributes with Temporal: %w", reason(err))
	}
	return nil
}

// Unreachable tells whether err means that Temporal is away.
func Unreachable(err error) bool {
	var unavailable *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &unavailable) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.Unavailable
}

// reason shortens gRPC's words, which repeat themselves.
func reason(err error) error {
	if Unreachable(err) {
		return fmt.Errorf("nobody answers there: %w", err)
	}
	return err
}
